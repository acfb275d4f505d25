"""The commands that learn from labelled molecules, and use what was learnt."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gallon.options import (
    DEFAULT_STORE,
    AsJson,
    Config,
    Data,
    DataOptions,
    Encoding,
    Folds,
    LearningOptions,
    Library,
    Limit,
    Overwrite,
    RayAddress,
    Separator,
    SmilesColumn,
    SpecId,
    StoreOption,
    TransferOptions,
    Tuning,
    expanded,
)
from gallon.show import (
    bar,
    counter,
    facts_of,
    print_json,
    print_summary_table,
    print_table,
    print_trained,
    screened_facts,
    stderr,
)
from teacher.errors import UsageError
from teacher.wording import counted, plain

if TYPE_CHECKING:
    from rich.console import Console

    from cluster.training.driver import TrainResources
    from distill.data.annotations import Annotations
    from distill.data.dataset import Dataset
    from distill.data.features import DescriptorSet
    from distill.data.splits import Split
    from distill.learn.distillation import Weights
    from distill.learn.inputs import ModelInputs
    from distill.learn.recipes import Recipe
    from distill.learn.teach import Trained


@expanded
def teach(
    *,
    data: Data,
    labels: DataOptions,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="gcn, gin, gat, dmpnn, lm, lm-fine-tuned, mmf or e-llagnn; default: dmpnn, and lm where there are "
            "annotations."
        ),
    ] = None,
    folds: Folds = 5,
    tuning: Tuning = None,
    learning: LearningOptions,
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Train graph and language teachers on labelled molecules.

    The language teacher reads what `gallon annotate` has written about the molecules. The same command again goes on
    where it was stopped.

    Example: `gallon teach solubility.csv --target logS`
    """
    from distill.learn.model_store import check_place
    from distill.learn.recipes import recipe

    def check(folder: Path) -> None:
        for name in teacher or ["dmpnn", "lm"]:
            check_place(folder / name)

    console = stderr()
    reads_texts = not teacher or any(recipe(name).role == "lm" for name in teacher)
    texts_in = store if reads_texts else None
    with _learning(data, labels, learning, console, check, where=texts_in, spec_id=spec_id, tuning=tuning) as bench:
        names = teacher or ["dmpnn", *(["lm"] if bench.model_inputs.annotations else [])]
        teachers = [bench.recipe(name) for name in dict.fromkeys(names)]
        trained = run_teaching(bench, teachers, seed=labels.seed, folds=folds, console=console)
    if as_json:
        print_json({"models": [facts_of(model) for model in trained]})
    else:
        print_trained(trained)


@expanded
def distill(
    *,
    data: Data,
    labels: DataOptions,
    teacher: Annotated[
        list[Path] | None, typer.Option(help="Folder of a teacher; default: those that `gallon teach` left.")
    ] = None,
    student: Annotated[
        list[str] | None,
        typer.Option(help="Input that the student may have: atoms, atoms-1hop, fingerprint; default: all are tried."),
    ] = None,
    descriptors: Annotated[
        str, typer.Option(help="Beside a fingerprint: all (slow), lean, estimated (fast) or none.")
    ] = "lean",
    soft_gnn: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of the graph teachers' predictions; default: 0.5, with --transfer 1."),
    ] = None,
    soft_lm: Annotated[float, typer.Option(min=0, help="Weight of the language teachers' predictions.")] = 0.5,
    hidden_gnn: Annotated[float, typer.Option(min=0, help="Weight of the graph teachers' representations.")] = 0.1,
    hidden_lm: Annotated[float, typer.Option(min=0, help="Weight of the language teachers' representations.")] = 0.1,
    temperature: Annotated[float, typer.Option(min=0.1, help="Of the teachers' class probabilities.")] = 1.0,
    transfer: TransferOptions,
    tuning: Tuning = None,
    learning: LearningOptions,
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Distil a student, a small MLP that scores whole libraries, from teachers.

    Takes the same data and split as the `gallon teach` before it. Of several inputs the one that validates best is
    kept. With a library given by --transfer the student also learns what the teachers say of its molecules; the
    language teacher speaks of those that are annotated in the store.

    Example: `gallon distill solubility.csv --target logS --transfer library.smi`
    """
    from distill.learn.distillation import WITH_TRANSFER_SET, Weights
    from distill.learn.model_store import check_place
    from distill.learn.student import INPUTS

    def check(folder: Path) -> None:
        check_place(folder / "student")

    console = stderr()
    default = WITH_TRANSFER_SET if transfer.transfer else Weights()
    graph_teachers = default.soft_gnn if soft_gnn is None else soft_gnn
    weights = Weights(
        soft_gnn=graph_teachers, soft_lm=soft_lm, hidden_gnn=hidden_gnn, hidden_lm=hidden_lm, temperature=temperature
    )
    chosen = _descriptors(descriptors)
    texts_in = store if transfer.transfer else None
    with _learning(
        data, labels, learning, console, check, where=texts_in, spec_id=spec_id, transfer=transfer, tuning=tuning
    ) as bench:
        students = [bench.recipe(f"student-{name}") for name in student or INPUTS]
        trained = run_distillation(
            bench,
            teacher,
            students=[replace(known, descriptors=chosen) for known in students],
            seed=labels.seed,
            weights=weights,
            console=console,
        )
    if as_json:
        print_json({"models": [facts_of(trained)]})
    else:
        print_trained([trained])


@expanded
def evaluate(
    *,
    data: Data,
    labels: DataOptions,
    methods: Annotated[
        str | None,
        typer.Option(help="Rows of the table, by commas; default: all but chemprop, lm-fine-tuned, mmf, e-llagnn."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many, from --seed on.")] = 5,
    trials: Annotated[int, typer.Option(min=0, help="Optuna trials of every method; 0: its stated defaults.")] = 0,
    folds: Folds = 5,
    transfer: TransferOptions,
    learning: LearningOptions,
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Compare baselines, teachers and students on one dataset, over seeds.

    All choices are made on the validation part. Writes `table.json`, `table.csv` and `comparison.html` into the folder.
    The same command again goes on where it was stopped.

    Example: `gallon evaluate esol --data-root moleculenet --seeds 5`
    """
    from distill.evaluate import comparison, tuning
    from distill.evaluate.methods import AS_RELEASED, REFERENCE, defaults, method
    from distill.evaluate.provenance import provenance
    from distill.evaluate.summary import summarize
    from distill.report.comparison import check_place
    from distill.report.comparison import write as write_report

    console = stderr()
    chosen = [method(name) for name in methods.split(",")] if methods else []
    reads_texts = not chosen or any(known.needs_texts for known in chosen)
    texts_in = store if reads_texts else None
    check = functools.partial(check_place, inputs=[data, *(transfer.transfer or ())])
    with _learning(
        data, labels, learning, console, check, where=texts_in, spec_id=spec_id, transfer=transfer, seeds=seeds
    ) as bench:
        names = [known.name for known in chosen] or defaults(
            with_texts=bench.model_inputs.annotations is not None,
            with_transfer_set=bench.model_inputs.transfer is not None,
        )
        cases = [
            comparison.SeededSplit(seed=seed, split=split) for seed, split in enumerate(bench.splits, start=labels.seed)
        ]
        settings = comparison.Settings(
            methods=names,
            folds=folds,
            folder=bench.folder,
            resources=bench.resources,
            recipes={name: known for name, known in bench.recipes.items() if name != AS_RELEASED},
        )
        with bar(console, "fits") as show:
            if trials:
                settings = tuning.tuned(bench.model_inputs, cases[0], settings, trials, show)
            runs = comparison.compare(bench.model_inputs, cases, settings, show)
    rows = summarize(runs, bench.model_inputs.dataset.kind, REFERENCE)
    balance = learning.balance
    page = write_report(bench.folder, bench.model_inputs, cases, runs, rows, trials=trials, balance=balance)
    if as_json:
        made_of = provenance(bench.model_inputs, cases, trials, balance=balance)
        print_json({**made_of, "rows": [asdict(row) for row in rows], "path": str(page)})
    else:
        print_summary_table(bench.model_inputs, cases, rows, trials)
        typer.echo(f"\nWritten to {plain(str(page))}")


def screen(
    *,
    library: Library,
    student: Annotated[Path, typer.Option(help="Folder of a student, as `gallon distill` leaves it.")],
    out: Annotated[Path, typer.Option(help="OUT.parquet, OUT.jsonl or OUT.csv")],
    overwrite: Overwrite = False,
    smiles_column: SmilesColumn = None,
    separator: Separator = None,
    encoding: Encoding = None,
    limit: Limit = None,
    ray: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Score a whole library by a student: one row out for each row in.

    Example: `gallon screen library.smi.zst --student gallon-models/esol/student --out scores.parquet`
    """
    from cluster.library.source import resolve
    from cluster.runtime.session import ray_session
    from cluster.table_file import WRITERS
    from distill.learn.model_store import usable_card
    from distill.learn.screening import screen as score
    from teacher.files import check_output

    sources = resolve(library, smiles_column, separator, encoding)
    check_output(out, suffixes=WRITERS, inputs=[source.path for source in sources], overwrite=overwrite)
    usable_card(student)  # a mistake need not wait for a cluster to start
    console = stderr()
    with ray_session(ray) as session, counter(console, "screening") as show:
        screened = score(sources, student, out, limit=limit, session=session, show=show)
    facts = screened_facts(screened, out)
    if as_json:
        print_json(facts)
    else:
        print_table("Screened", facts)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What teachers and students are trained with.

    Attributes:
        reading: the dataset.
        splits: one for each seed.
        folder: where results go.
        resources: the workers, and what each may use.
        recipes: what replaces the recipes of these names.
    """

    model_inputs: ModelInputs
    splits: Sequence[Split]
    folder: Path
    resources: TrainResources
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    def recipe(self, name: str) -> Recipe:
        """Return a recipe as it is to be trained."""
        from distill.learn.recipes import recipe

        known = recipe(name)
        return self.recipes.get(name, known)


@contextmanager
def _learning(
    data: str,
    labels: DataOptions,
    learning: LearningOptions,
    console: Console,
    check: Callable[[Path], None],
    *,
    where: str | None = None,
    spec_id: str | None = None,
    transfer: TransferOptions | None = None,
    tuning: Path | None = None,
    seeds: int = 1,
) -> Iterator[Bench]:
    """Read and divide the data, and read the transfer set if there is one; then connect to Ray.

    What is wrong with the data or the options is told before a cluster starts, also by `check`, which looks whether
    results can be written to the folder. Where nothing reads texts no store is given, so that nobody has to choose a
    spec, or to reach a store, for nothing.
    """
    from cluster.library.source import resolve
    from cluster.runtime.session import ray_session
    from cluster.training.driver import plan_resources
    from distill.data.moleculenet import DATA_ROOT, load
    from distill.data.transfer import with_transfer_set
    from distill.learn.inputs import ModelInputs
    from distill.learn.model_store import refuse_other_data

    dataset = load(
        data,
        smiles_column=labels.smiles_column,
        targets=labels.target or (),
        split_column=labels.split_column,
        data_root=labels.data_root or DATA_ROOT,
        separator=labels.separator,
        encoding=labels.encoding,
    )
    folder = learning.out or Path("gallon-models") / dataset.name
    check(folder)
    if not learning.overwrite:
        refuse_other_data(folder, dataset)
    splits = _splits(dataset, labels, seeds)
    recipes = _recipes(dataset, splits[0], tuning, balance=learning.balance)

    def read(dataset: Dataset, wider: ModelInputs | None = None) -> ModelInputs:
        annotations = _annotations(where, spec_id, dataset.keys) if where else None
        return ModelInputs(dataset, annotations, folder / "inputs", learning.encoder, os.cpu_count() or 1, wider)

    wider = None
    if transfer and transfer.transfer:
        wider = read(with_transfer_set(dataset, resolve(transfer.transfer), transfer.transfer_rows, labels.seed))
    model_inputs = read(dataset, wider)
    console.print(_told(model_inputs))
    with ray_session(learning.ray) as session:
        resources = plan_resources(session, learning.workers)
        yield Bench(model_inputs=model_inputs, splits=splits, folder=folder, resources=resources, recipes=recipes)


def _splits(dataset: Dataset, options: DataOptions, seeds: int) -> list[Split]:
    """Divide the dataset under so many seeds, and say what cannot be judged."""
    from distill.data.splits import split
    from distill.learn.labels import check

    splits = [
        split(dataset, options.split, seed=seed, chirality=options.scaffold_chirality)  # type: ignore[arg-type]
        for seed in range(options.seed, options.seed + seeds)
    ]
    _warn([warning for parts in splits for warning in check(parts, dataset)])
    return splits


def _recipes(dataset: Dataset, split: Split, tuning: Path | None, *, balance: bool) -> dict[str, Recipe]:
    """Return the recipes that are not to be trained as they are stated."""
    from distill.evaluate.tuning import found_in
    from distill.learn.recipes import RECIPES

    recipes: dict[str, Recipe] = {}
    if tuning:
        recipes, said = found_in(tuning, dataset, split)
        _warn(said)
    if balance:
        if dataset.kind != "classification":
            raise UsageError(f"--balance weighs classes, and the labels of {dataset.name} are numbers: leave it out.")
        recipes = {name: replace(recipes.get(name, known), balance=True) for name, known in RECIPES.items()}
    return recipes


def _warn(sentences: Sequence[str]) -> None:
    """Tell people, each thing once; while Ray is connected, standard error would go to its log."""
    for sentence in dict.fromkeys(sentences):
        typer.echo(plain(sentence), err=True)


def run_teaching(bench: Bench, teachers: Sequence[Recipe], *, seed: int, folds: int, console: Console) -> list[Trained]:
    """Train teachers, with a bar on a terminal."""
    from distill.learn.teach import teach as train

    with bar(console, "teachers") as show:
        return train(
            bench.model_inputs,
            bench.splits[0],
            teachers,
            seed=seed,
            folds=folds,
            folder=bench.folder,
            resources=bench.resources,
            show=show,
        )


def run_distillation(
    bench: Bench,
    teachers: Sequence[Path] | None,
    *,
    students: Sequence[Recipe],
    seed: int,
    console: Console,
    weights: Weights | None = None,
) -> Trained:
    """Distil a student from teachers, or from those that were left in the folder, with a bar on a terminal."""
    from distill.learn import distillation, teacher_outputs

    split = bench.splits[0]
    found = teacher_outputs.read_all(teachers or teacher_outputs.find(bench.folder), bench.model_inputs, split)
    with bar(console, "students") as show:
        return distillation.distill_student(
            bench.model_inputs,
            split,
            [outputs for outputs, _ in found],
            students=students,
            weights=weights or distillation.Weights(),
            seed=seed,
            folder=bench.folder,
            resources=bench.resources,
            teachers=[card for _, card in found],
            show=show,
        )


def _annotations(where: str, spec_id: str | None, keys: Sequence[bytes]) -> Annotations | None:
    """Fetch what was written about molecules; None where the store holds nothing and no spec was asked for."""
    from cluster.store.open import choose_spec, has_store, open_store
    from distill.data.annotations import fetch

    if spec_id is None and where == DEFAULT_STORE and not has_store(where):
        return None
    with open_store(where, create=False) as store:
        if spec_id is None and not store.specs():
            return None
        return fetch(store, choose_spec(store, spec_id), keys)


def _told(model_inputs: ModelInputs) -> str:
    """Say what was read, and what of it cannot be learnt from."""
    dataset, annotations = model_inputs.dataset, model_inputs.annotations
    words = [counted(len(dataset), "molecule")]
    words += [f"{counted(len(dataset.invalid), 'row')} without one"] if dataset.invalid else []
    words += [f"{counted(dataset.duplicates, 'duplicate row')} merged"] if dataset.duplicates else []
    words += [f"{counted(dataset.conflicts, 'contradictory label')} left out"] if dataset.conflicts else []
    if annotations and annotations.missing:
        words += [f"{counted(annotations.missing, 'molecule')} without annotation, which no language teacher reads"]
    if transfer := model_inputs.describe_transfer():
        words += [f"{transfer['molecules']:,} more without labels, {transfer['annotated']:,} of them annotated"]
    return "; ".join(words) + "."


def _descriptors(name: str) -> DescriptorSet:
    from distill.data.features import DESCRIPTOR_SETS

    for known in DESCRIPTOR_SETS:
        if known == name:
            return known
    raise UsageError(f"There are no descriptors '{name}': choose out of {', '.join(DESCRIPTOR_SETS)}.")
