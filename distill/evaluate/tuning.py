"""Settings for the rows of a comparison, found with the same number of trials for every method.

A trial is one fit under the first case, and its value is the main metric on the validation part; the test part is never
looked at. All cases then use what was found.

A student that is distilled has the settings that its recipe was found to learn best with *without* a teacher: what it
gains over that student is gained from its teachers, and not from a search of its own. GALLON's own rows keep the
settings that they were released with. A student has its trials once for each kind of input, among which the validation
part chooses; so has whichever graph teacher is distilled, for each one in the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.training.driver import FitProgress, fit_all
from distill.evaluate.baselines.catalog import baseline
from distill.evaluate.budget import Settings
from distill.evaluate.methods import BEST_NETWORK, graph_teachers, method
from distill.evaluate.predictions import CachedPredictions
from distill.evaluate.search import AT_A_TIME, BestTrial, Candidate, Search, search
from distill.features.features_id import features_id
from distill.judge.judged import SeededSplit
from distill.learn.fits import FORMAT, Batch
from distill.learn.inputs import ModelInputs
from distill.learn.metrics import main_metric, score
from distill.learn.recipes import INPUTS, RECIPES, Recipe, recipe
from teacher import strict_json
from teacher.errors import UsageError
from teacher.files import write_text
from teacher.nn.registry import ARCHITECTURES
from teacher.provenance import digest

if TYPE_CHECKING:
    from distill.data.dataset import Dataset
    from distill.data.splits import Split

FILE = "tuning.json"

Chosen = Mapping[str, Any]  # settings of a baseline that differ from its defaults
Show = Callable[[FitProgress], None]
Judge = Callable[[Sequence[tuple[str, Candidate]], Show | None], Sequence[float]]


def tuned(
    model_inputs: ModelInputs, case: SeededSplit, settings: Settings, trials: int, show: Show | None = None
) -> Settings:
    """Return the settings of a comparison with the settings of its methods tuned.

    What was found is written to `tuning.json` in the comparison's folder, method by method, under a digest of all that
    decides it, and is read from there the next time. A search that was stopped goes on: fits that are done are kept.

    Args:
        model_inputs: the dataset.
        case: the first seed and its split.
        settings: what is compared.
        trials: of every method that has something to tune; the first one is its defaults.
        show: called with the progress.

    Raises:
        UsageError: a method is not known, or needs what is not there.
        TrainingError: the workers kept dying; the same call goes on.
    """
    bench = _Bench(model_inputs, case, settings, trials, show)
    recipes = [_of_recipe(settings.recipe(name), case.seed) for name in _recipes(settings)]
    baselines = [_of_baseline(name, case.seed) for name in settings.methods if method(name).kind == "baseline"]
    return replace(
        settings,
        tuned={**settings.tuned, **bench.best(baselines, bench.judge_baselines)},
        recipes={**settings.recipes, **bench.best(recipes, bench.judge_recipes)},
    )


def found_in(file: Path, dataset: Dataset, split: Split) -> tuple[dict[str, Recipe], list[str]]:
    """Return the recipes that a `tuning.json` has settings for, with these, by name.

    Of several searches for one recipe that counts which was made for this dataset and split, or else comes closest; of
    equals the one with the most trials.

    Returns:
        The recipes, and a sentence for each way in which the searches were made for something else.

    Raises:
        UsageError: the file cannot be read, or holds settings of no network.
    """
    if not file.is_file():
        raise UsageError(f"--tuning {file}: there is no such file; 'gallon evaluate --trials' leaves a {FILE}.")
    best: dict[str, tuple[tuple[bool, bool, int], Mapping[str, Any]]] = {}
    try:
        for entry in _entries(file).values():
            rank = (entry["dataset"] == dataset.sha256, entry["split"] == split.sha256, entry["trials"])
            if entry["method"] in RECIPES and (entry["method"] not in best or rank >= best[entry["method"]][0]):
                best[entry["method"]] = rank, entry
        searches = {name: _of_recipe(recipe(name), seed=0) for name in best}
        recipes = {name: searches[name].candidate(_found(entry)) for name, (_, entry) in best.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise UsageError(
            f"{file} holds no settings of this version of gallon ({reason}): name the tuning.json that "
            "'gallon evaluate --trials' leaves."
        ) from None
    if not recipes:
        raise UsageError(f"{file} holds settings of no network: give 'gallon evaluate --trials' networks to tune.")
    ranks = [rank for rank, _ in best.values()]
    said = []
    if not all(of_dataset for of_dataset, _, _ in ranks):
        said.append(f"Settings in {file} were found with other molecules or labels than those of {dataset.name}.")
    if not all(of_split for of_dataset, of_split, _ in ranks if of_dataset):
        said.append(
            f"Settings in {file} were found under another split: molecules of this test part may have chosen them."
        )
    return recipes, said


def _entries(file: Path) -> dict[str, dict[str, Any]]:
    """Return what a `tuning.json` holds, search by search; nothing where there is no such file."""
    entries: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return entries


def _found(entry: Mapping[str, Any]) -> BestTrial:
    return BestTrial(**{field.name: entry[field.name] for field in fields(BestTrial)})


def _recipes(settings: Settings) -> list[str]:
    """Return the recipes that rows are made by and that have something to tune."""
    methods = [method(name) for name in settings.methods]
    names = [known.name for known in methods if known.kind == "teacher"]
    of_ours = [known for known in methods if known.kind == "student" and not known.released]
    students = {known.listens for known in of_ours}
    names += [known.network for known in of_ours if known.network and known.network != BEST_NETWORK]
    names += [known.student for known in of_ours if known.student]
    if any(not (known.network or known.student) for known in of_ours):
        names += [f"student-{reads}" for reads in INPUTS]
    heard = students | {"both" for known in methods if known.kind == "mean"}
    if heard & {"gnn", "both", "shuffled"}:
        names += graph_teachers(settings.methods)
    if "network" in heard or any(known.network == BEST_NETWORK for known in methods):
        names += graph_teachers(settings.methods, ARCHITECTURES)
    if heard & {"lm", "both", "shuffled"}:
        names.append(settings.lm)
    return [name for name in dict.fromkeys(names) if recipe(name).space]


def _of_recipe(known: Recipe, seed: int) -> Search[Recipe]:
    return Search(name=known.name, defaults=known, draw=known.suggested, seed=seed)


def _of_baseline(name: str, seed: int) -> Search[Chosen]:
    nothing: Chosen = {}
    return Search(name=name, defaults=nothing, draw=baseline(name).space, seed=seed)


@dataclass
class _Bench:
    """Where candidates are judged, and where what was found is written down."""

    model_inputs: ModelInputs
    case: SeededSplit
    settings: Settings
    trials: int
    show: Show | None

    def best(self, searches: Sequence[Search[Candidate]], judge: Judge[Candidate]) -> dict[str, Candidate]:
        """Return the best candidate of each search, after those searches that have no result yet."""
        keys = {one.name: self._key(one) for one in searches}
        found = self._read(keys.values())
        if new := [one for one in searches if keys[one.name] not in found]:
            search(new, self.trials, self._counted(judge, len(new) * self.trials))
            found |= {keys[one.name]: one.found for one in new}
            self._write(found)
        return {one.name: one.candidate(found[keys[one.name]]) for one in searches}

    def judge_baselines(self, candidates: Sequence[tuple[str, Chosen]], show: Show | None) -> list[float]:
        """Fit baselines in this process, one by one."""
        dataset, split = self.model_inputs.dataset, self.case.split
        sign = 1 if dataset.kind == "classification" else -1
        values = []
        for number, (name, chosen) in enumerate(candidates, start=1):
            kept = CachedPredictions(self.settings.folder / "baselines", baseline(name), self.model_inputs)
            said = kept.predict(split, self.case.seed, chosen).values[split.valid]
            values.append(sign * score(dataset.kind, dataset.labels[split.valid], said)[main_metric(dataset.kind)])
            if show:
                show(FitProgress(number, len(candidates)))
        return values

    def judge_recipes(self, candidates: Sequence[tuple[str, Recipe]], show: Show | None) -> list[float]:
        """Fit networks on the workers, in one go."""
        batch = Batch(self.model_inputs)
        for _, candidate in candidates:
            batch.add(candidate, self.case.split, self.case.seed)
        outcomes = fit_all(batch.fit_set, self.settings.folder / "fits", self.settings.resources, show)
        return [outcome.score for outcome in outcomes]

    def _counted(
        self, judge: Judge[Candidate], whole: int
    ) -> Callable[[Sequence[tuple[str, Candidate]]], Sequence[float]]:
        """Let the progress of each round go on from that of the rounds before."""
        before = 0

        def judged(candidates: Sequence[tuple[str, Candidate]]) -> Sequence[float]:
            nonlocal before
            values = judge(candidates, self._shown_after(before, whole))
            before += len(candidates)
            return values

        return judged

    def _shown_after(self, before: int, whole: int) -> Show | None:
        show = self.show
        return show and (lambda now: show(FitProgress(before + now.done, whole)))

    # What was found

    def _read(self, keys: Iterable[str]) -> dict[str, BestTrial]:
        """Return what searches of these keys have found before."""
        kept = _entries(self.settings.folder / FILE)
        return {key: _found(kept[key]) for key in keys if key in kept}

    def _write(self, found: Mapping[str, BestTrial]) -> None:
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        file = self.settings.folder / FILE
        of_here = {"dataset": self.model_inputs.dataset.sha256, "split": self.case.split.sha256}
        others = {key: one for key, one in _entries(file).items() if key not in found}
        kept = {**others, **{key: {**asdict(one), **of_here} for key, one in found.items()}}
        write_text(file, strict_json.dumps(kept, indent=2) + "\n")

    def _key(self, one: Search[Any]) -> str:
        """Return a digest of all that decides what a search finds."""
        facts = {
            "format": FORMAT,
            "features": features_id(),
            "method": one.name,
            "defaults": _facts(one),
            "space": one.space(),
            "dataset": self.model_inputs.dataset.sha256,
            "reads": self._reads(one),
            "split": self.case.split.sha256,
            "seed": self.case.seed,
            "trials": [self.trials, AT_A_TIME],
        }
        return digest(facts)

    def _reads(self, one: Search[Any]) -> str | None:
        """Return what a method reads beside the molecules: texts, rules, an LLM's answers, a pre-trained network."""
        if isinstance(one.defaults, Recipe):
            return self.model_inputs.inputs_name(one.defaults, self.case.split)
        known = baseline(one.name).pretrained
        return self.model_inputs.pretraining(known)["version"] if known else None


def _facts(one: Search[Any]) -> Any:
    """Return what a method is without a search, fit for JSON."""
    if isinstance(one.defaults, Recipe):
        known = one.defaults
        return [dict(known.settings), asdict(known.schedule), known.label_smoothing, known.balance]
    return dict(baseline(one.name).defaults)
