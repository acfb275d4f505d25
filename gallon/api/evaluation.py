"""Compare baselines, teachers and students on one dataset."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.training.driver import FitProgress
from distill.evaluate import comparison, tuning
from distill.evaluate.budget import DEFAULT_LM, Settings, with_start
from distill.evaluate.methods import (
    AS_RELEASED,
    FROM_START,
    REFERENCE,
    Method,
    defaults,
    method,
    named,
    variant,
)
from distill.evaluate.provenance import provenance, rules_that_count
from distill.features.pretrained.encoders import check_installed
from distill.judge import prediction_file
from distill.judge.curve import FewerLabels, with_fewer_labels
from distill.judge.judged import Judged, SeededSplit
from distill.judge.summary import Summary, SummaryRow, summarize
from distill.learn.fits import check_readable
from distill.learn.labels import check
from distill.learn.on_demand import UNCERTAINTY
from distill.learn.recipes import RANKED, of_role, recipe
from distill.models.pretraining import Start
from distill.report.comparison import check_place
from distill.report.comparison import write as write_report
from distill.report.verdict import verdict
from gallon.api.data import TrainingSession, results_folder, training_session
from gallon.api.learning import check_named, check_objective, fits_of
from gallon.api.library import StrPath, listed, store_named
from gallon.config import DataConfig, TrainConfig, TransferConfig, check_folds, check_number
from gallon.progress import ProgressCallback, phase
from gallon.texts import named_specs
from teacher.errors import UsageError
from teacher.files import placed

if TYPE_CHECKING:
    import pandas as pd

    from distill.data.dataset import Dataset
    from distill.data.splits import Split
    from distill.judge.run import Run
    from distill.learn.inputs import ModelInputs

SEEDS = 5
OF_PREDICTIONS = ("predictor", "pseudo-labels")  # which a spec of their own holds
SEEDS_OF_CV = 25  # of scaffold-cv: five times five folds


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of methods on one dataset.

    Attributes:
        summary: the table, and what its intervals are worth.
        facts: the data, the splits, the software and the machine, fit for JSON (`distill.evaluate.provenance`).
        page: the HTML page.
    """

    summary: Summary
    facts: dict[str, Any]
    page: Path

    @property
    def rows(self) -> Sequence[SummaryRow]:
        """One row for each method, the best first."""
        return self.summary.rows

    @property
    def verdict(self) -> str:
        """Who is ahead, and whether that is sure."""
        return verdict(self.summary)

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame([{**asdict(row), "differs": row.differs} for row in self.rows])


def evaluate(
    data: StrPath,
    *,
    labels: DataConfig,
    training: TrainConfig,
    transfer: TransferConfig,
    methods: str | Sequence[str] | None = None,
    seeds: int | None = None,
    trials: int = 0,
    folds: int = 5,
    label_counts: int | Sequence[int] = (),
    recompute: bool = False,
    objective: str | None = None,
    lm: str = DEFAULT_LM,
    start: StrPath | None = None,
    spec_id: str | None = None,
    other_specs: str | Sequence[str] = (),
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> Comparison:
    """Compare methods over seeds; the same call again goes on where it was stopped.

    All choices are made on the validation part. `table.json`, `table.csv`, `predictions.parquet` and `comparison.html`
    are written into the folder of the results.

    Args:
        data: a table with labels, or a name of MoleculeNet.
        labels: the columns, and the split.
        training: how networks are trained, and where results go.
        transfer: a library without labels, for the students that learn from one.
        methods: names of rows; by default all that are cheap and whose inputs are there (`distill.evaluate.methods`).
        seeds: how many, from the configuration's seed on; by default 5, or 25 where the split is scaffold-cv.
        trials: Optuna trials of every method; 0: its stated defaults.
        folds: that training molecules are predicted out of; 0: none.
        label_counts: the comparison is also made with so many labels, one number or several, in training and validation
            together.
        recompute: only make table and page again, out of the predictions that are in the folder.
        objective: "gallon": the students, their graph teacher and their objective are those that GALLON released, and
            their rows are called so (`distill.evaluate.methods.RELEASED`); by default "whitened", ours.
        lm: the recipe of the language teacher that is distilled.
        start: a folder of `pretrain`: the rows that rest on a graph network of its kind are also made with one that
            begins with its network, all but the head, as `METHOD [pre-trained]`.
        spec_id: the spec of the annotations, or the beginning of its id.
        other_specs: as NAME=SPEC: the rows that read texts are also made with those of this spec, as `METHOD [NAME]`.
        store: that has the annotations.
        progress: called as fits go on.

    Raises:
        UsageError: data or settings are wrong, or there are not as many labels.
        TrainingError: a fit failed.
    """
    if recompute:
        return _recomputed(results_folder(data, training))
    counts = _checked_counts(label_counts, seeds=seeds, trials=trials, folds=folds)
    _check_names(objective, lm)
    released = objective == "gallon"
    chosen = _chosen(listed(methods or ()), released=released)
    if counts:
        _check_fewer_labels(training, trials, [*chosen, method(lm)])
    network = Start.read(placed(start)) if start else None
    if any(known.needs_rules for known in chosen):
        check_named(training.rules)
    reads_texts = not chosen or any(known.needs_texts for known in chosen)
    with training_session(
        data,
        labels,
        training,
        functools.partial(check_place, inputs=[str(data), *(transfer.transfer or ())]),
        store=store_named(store) if reads_texts else None,
        spec_id=spec_id,
        other_specs=named_specs(listed(other_specs)),
        transfer=transfer,
        seeds=seeds or default_seeds(labels.split),
        check_inputs=functools.partial(
            _check_inputs, chosen=chosen, counts=counts, seed=labels.seed, start=network, on_demand=training.on_demand
        ),
        progress=progress,
    ) as session:
        model_inputs = session.model_inputs
        cases = _cases(session.splits, labels.seed)
        judged = Judged.of(model_inputs.dataset, cases)
        settings = _settings(session, [known.name for known in chosen], folds, lm, network, released=released)
        with phase(progress, "fits", "fits") as running:
            show = fits_of(running)
            if trials:
                settings = tuning.tuned(model_inputs, cases[0], settings, trials, show)
            runs = _compared(session, judged, cases, settings, show)
            made_of = _made_of(session, cases, settings, training, trials)
            fewer = _with_fewer_labels(session, judged, cases, settings, show, counts=counts)
    made_of |= {"objective": objective or "whitened", "lm": lm}
    return _reported(session.folder, judged, runs, made_of, fewer)


def _checked_counts(label_counts: int | Sequence[int], *, seeds: int | None, trials: int, folds: int) -> Sequence[int]:
    """Return with how many labels the comparison is also made, each once; refuse numbers of what cannot be done."""
    counts = [label_counts] if isinstance(label_counts, int) else sorted(set(label_counts))
    check_number("seeds", seeds, least=1)
    check_number("trials", trials, least=0)
    for count in counts:
        check_number("label_counts", count, least=1)
    check_folds(folds)
    return counts


def _check_names(objective: str | None, lm: str) -> None:
    check_objective(objective)
    if recipe(lm).role != "lm":
        raise UsageError(f"'{lm}' is no language teacher: choose out of {', '.join(of_role('lm'))}.")


def _check_inputs(
    model_inputs: ModelInputs,
    splits: Sequence[Split],
    *,
    chosen: Sequence[Method],
    counts: Sequence[int],
    seed: int,
    start: Start | None,
    on_demand: bool,
) -> None:
    """Refuse methods that read what is not there, more labels than there are, and a start that no row can make."""
    if start:
        _check_start(start, chosen, model_inputs.dataset, splits)
    comparison.check_transfer(chosen, model_inputs)
    if not on_demand and any(known.needs_texts and known.kind not in OF_PREDICTIONS for known in chosen):
        check_readable(recipe(DEFAULT_LM), model_inputs, splits[0])
    for count in counts:
        _check_drawn(model_inputs.dataset, _cases(splits, seed), count)


def _check_start(start: Start, chosen: Sequence[Method], dataset: Dataset, splits: Sequence[Split]) -> None:
    name = start.card.recipe
    if chosen and name not in [known.name for known in chosen]:
        raise UsageError(f"The network of --start is a {name}, and no row is one: add {name} to --methods.")
    for each in splits:
        start.refuse_seen_labels(dataset, each)


def _check_drawn(dataset: Dataset, cases: Sequence[SeededSplit], count: int) -> None:
    """Refuse a number of labels of which some seed draws none, or one value only, of a target to learn."""
    for case in _few_cases(dataset, cases, count):
        try:
            check(case.split, dataset)
        except UsageError as error:
            raise UsageError(f"--labels {count} draws too little under seed {case.seed}. {error}") from None


def _cases(splits: Sequence[Split], seed: int) -> list[SeededSplit]:
    return [SeededSplit(seed=number, split=split) for number, split in enumerate(splits, start=seed)]


def _compared(
    session: TrainingSession,
    judged: Judged,
    cases: Sequence[SeededSplit],
    settings: Settings,
    show: Callable[[FitProgress], None],
) -> list[Run]:
    """Do every method, and once more those that read texts, with each other spec's, and those that a start is for."""
    runs = comparison.compare(session.model_inputs, judged, cases, settings, show)
    reading = {
        name for name in settings.methods if method(name).needs_texts and method(name).kind not in OF_PREDICTIONS
    }
    # Graph teachers, out of which one is chosen, are done already.
    again = [name for name in settings.methods if name in reading or method(name).kind == "teacher"]
    for texts, model_inputs in session.others.items():
        others = comparison.compare(model_inputs, judged, cases, replace(settings, methods=again), show)
        runs += [replace(run, method=variant(run.method, texts)) for run in others if run.method in reading]
    if settings.start:
        name = settings.start.card.recipe
        begun = comparison.compare(session.model_inputs, judged, cases, with_start(settings, settings.start), show)
        runs += [
            replace(run, method=variant(run.method, FROM_START)) for run in begun if method(run.method).rests_on(name)
        ]
    return runs


def _with_fewer_labels(
    session: TrainingSession,
    judged: Judged,
    cases: Sequence[SeededSplit],
    settings: Settings,
    show: Callable[[FitProgress], None],
    *,
    counts: Sequence[int],
) -> list[FewerLabels]:
    """Do every method with so many labels, too."""
    dataset, fewer = session.model_inputs.dataset, []
    for count in counts:
        few = _few_cases(dataset, cases, count)
        of_few = Judged.of(dataset, few, like=judged)
        fewer.append(_with_fewer(count, of_few, _compared(session, of_few, few, settings, show)))
    return fewer


def _made_of(
    session: TrainingSession,
    cases: Sequence[SeededSplit],
    settings: Settings,
    training: TrainConfig,
    trials: int,
) -> dict[str, Any]:
    """Return what a comparison was made of, and which rules count."""
    made_of = provenance(session.model_inputs, cases, trials, balance=training.balance, methods=settings.methods)
    read = {texts: model_inputs.annotations for texts, model_inputs in session.others.items()}
    made_of["other_specs"] = {texts: annotations.spec for texts, annotations in read.items() if annotations}
    if settings.start:
        began = settings.start.facts(session.model_inputs.dataset, cases[0].split)
        made_of["start"] = {**began, "seen": sum(began["seen"].values())}
    counting = rules_that_count(session.model_inputs, cases, settings)
    return {**made_of, **training.spent, **({"rules_that_count": counting} if counting else {})}


def _check_fewer_labels(training: TrainConfig, trials: int, methods: Sequence[Method]) -> None:
    """Refuse to hide labels from whatever has already used them.

    Raises:
        UsageError: settings are searched, networks choose the texts, or an LLM has seen labels, or training molecules,
            of a method.
    """
    if trials:
        raise UsageError("--labels and --trials: the search would see the labels that are to be hidden; leave out one.")
    if training.llm_budget is not None and training.budget_by == UNCERTAINTY:
        raise UsageError(
            "--labels and --budget-by uncertainty: networks that saw all labels would choose the texts; leave out one."
        )
    for known in methods:
        if known.name in RANKED:
            raise UsageError(
                f"--labels and {known.name}: an LLM has ordered neighbours out of the whole training part; leave out "
                "one."
            )
        if known.reads_predictions:
            raise UsageError(
                f"--labels and {known.name}: the LLM predicted with labels of the whole training part in sight; leave "
                "out one."
            )


def _chosen(names: Sequence[str], *, released: bool) -> list[Method]:
    """Return the methods of these names, whose packages are there."""
    chosen = named(names, released=released)
    for known in chosen:
        if known.pretrained:
            check_installed(known.pretrained)
    return chosen


def default_seeds(split: str) -> int:
    """Return how many seeds a comparison has that names none."""
    return SEEDS_OF_CV if split == "scaffold-cv" else SEEDS


def _settings(
    session: TrainingSession, methods: Sequence[str], folds: int, lm: str, start: Start | None, *, released: bool
) -> Settings:
    model_inputs = session.model_inputs
    return Settings(
        methods=methods
        or defaults(
            with_texts=model_inputs.annotations is not None,
            with_transfer_set=model_inputs.transfer is not None,
            with_rules=model_inputs.rules is not None,
            released=released,
        ),
        lm=lm,
        start=start,
        folds=folds,
        folder=session.folder,
        resources=session.resources,
        recipes={name: known for name, known in session.recipes.items() if name != AS_RELEASED},
    )


def _few_cases(dataset: Dataset, cases: Sequence[SeededSplit], count: int) -> list[SeededSplit]:
    return [replace(case, split=with_fewer_labels(case.split, dataset, count, case.seed)) for case in cases]


def _with_fewer(labels: int, judged: Judged, runs: Sequence[Run]) -> FewerLabels:
    return FewerLabels(labels=labels, judged=judged, runs=runs, summary=summarize(judged, runs, REFERENCE))


def _recomputed(folder: Path) -> Comparison:
    kept = prediction_file.read(folder / prediction_file.FILE)
    files = prediction_file.with_fewer(folder)
    few_kept = {count: prediction_file.read(file) for count, file in files.items()}
    fewer = [_with_fewer(count, few.judged, few.runs) for count, few in few_kept.items()]
    return _reported(folder, kept.judged, kept.runs, kept.made_of, fewer)


def _reported(
    folder: Path, judged: Judged, runs: Sequence[Run], made_of: dict[str, Any], fewer: Sequence[FewerLabels]
) -> Comparison:
    summary = summarize(judged, runs, REFERENCE)
    page = write_report(folder, judged, runs, summary, made_of=made_of, fewer=fewer)
    return Comparison(summary=summary, facts=made_of, page=page)
