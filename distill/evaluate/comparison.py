"""`gallon evaluate`: many methods on one dataset, over seeds, in a table that a sceptic would believe.

Every choice (the best epoch, the graph teacher that is distilled, the student's input, what Optuna tries) is made on
the validation part. The test part is looked at once, for the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cluster.training import Done, Trainers, fit_all
from distill.data.reading import Reading
from distill.data.splits import Split
from distill.evaluate import baselines, predictions
from distill.learn.distillation import GALLON_CLASSES, GALLON_NUMBERS, Weights, best, taught_by
from distill.learn.fits import NOTHING, Batch, Taught
from distill.learn.lessons import Lesson, LessonPlan
from distill.learn.metrics import main_metric, score
from distill.learn.recipes import Recipe, of_role, recipe
from distill.learn.student import INPUTS
from distill.learn.teach import learn
from teacher.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cluster.training import Outcome
    from distill.data.table import Kind

Listens = Literal["nobody", "gnn", "lm", "both", "shuffled", "gallon"]

GALLON_TEACHER = "gcn"
DEFAULT_GRAPH_TEACHER = "dmpnn"
REFERENCE = "student+both"  # the row that the others are compared with
LISTENED: dict[Listens, tuple[str, ...]] = {
    "nobody": (),
    "gnn": ("gnn",),
    "lm": ("lm",),
    "both": ("gnn", "lm"),
    "shuffled": ("gnn", "shuffled"),
    "gallon": ("gallon gnn", "gallon lm"),
}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table.

    Attributes:
        name: of the row.
        summary: what it is.
        kind: a baseline, a teacher, or a student.
        listens: of a student, to whom.
    """

    name: str
    summary: str
    kind: Literal["baseline", "teacher", "student"]
    listens: Listens = "nobody"

    @property
    def needs_texts(self) -> bool:
        """Whether it reads what an LLM wrote, or learns from one who does."""
        return self.name.startswith("lm") or self.listens not in ("nobody", "gnn")


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(Method(name=name, summary=known.title, kind="baseline") for name, known in baselines.BASELINES.items()),
        *(Method(name=known.name, summary="graph teacher", kind="teacher") for known in of_role("gnn")),
        *(Method(name=known.name, summary="language teacher", kind="teacher") for known in of_role("lm")),
        Method(name="student", summary="student without distillation", kind="student"),
        Method(name="student+gnn", summary="student of the graph teacher", kind="student", listens="gnn"),
        Method(name="student+lm", summary="student of the language teacher", kind="student", listens="lm"),
        Method(name="student+both", summary="student of both", kind="student", listens="both"),
        Method(
            name="student+shuffled",
            summary="student of both, the language teacher reading other molecules' texts",
            kind="student",
            listens="shuffled",
        ),
        Method(
            name="gallon",
            summary="GALLON's own: GCN 3x32, per-atom MLP, its released objective",
            kind="student",
            listens="gallon",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One method under one seed.

    Attributes:
        method: its name.
        seed: of the training, and of the split where it is random.
        valid: the main metric on the validation part.
        test: all metrics on the test part.
        prediction: float32, (molecules, targets); logits or probabilities of classes.
        chosen: what was chosen on the validation part, where there was a choice.
        seconds: of the fit that is judged; None for baselines, whose time is not taken.
    """

    method: str
    seed: int
    valid: float
    test: Mapping[str, float]
    prediction: NDArray[np.float32]
    chosen: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A seed and its split: with a deterministic kind of split all cases have the same one."""

    seed: int
    split: Split


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How methods are compared.

    Attributes:
        methods: names of rows.
        folds: that training molecules are predicted out of.
        weights: how much students listen to their teachers.
        lm: name of the language teacher's recipe.
        recipes: what replaces the recipes of these names, after tuning.
        tuned: settings that differ from the defaults of these baselines, after tuning.
        folder: where fits lie; the same call goes on where it was stopped.
        trainers: the workers.
    """

    methods: Sequence[str]
    folder: Path
    trainers: Trainers
    folds: int = 5
    weights: Weights = field(default_factory=Weights)
    lm: str = "lm"
    recipes: Mapping[str, Recipe] = field(default_factory=lambda: MappingProxyType({}))
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))

    def recipe(self, name: str) -> Recipe:
        """Return a recipe, tuned if it was."""
        return self.recipes.get(name) or recipe(name)


def compare(
    reading: Reading,
    cases: Sequence[Case],
    settings: Settings,
    show: Callable[[Done], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Run]:
    """Do every method under every case; runs come method by method, in the order of the settings.

    Args:
        reading: the dataset.
        cases: seeds and splits.
        settings: what is compared, and how.
        show: called with the progress of each stage.
        say: called with the name of each stage.

    Raises:
        UsageError: a method is not known, or needs what is not there.
        TrainingError: the workers kept dying; the same call goes on.
    """
    methods = [method(name) for name in settings.methods]
    stages = _Stages(reading, cases, settings, show, say)
    of_baselines = [run for known in methods if known.kind == "baseline" for run in stages.baseline(known)]
    of_teachers = stages.teachers([known for known in methods if known.kind == "teacher"])
    of_students = stages.students([known for known in methods if known.kind == "student"])
    rows = {known.name: number for number, known in enumerate(methods)}
    return sorted([*of_baselines, *of_teachers, *of_students], key=lambda run: rows[run.method])


def defaults(*, with_texts: bool) -> list[str]:
    """Return the rows of a table where none are named: all but chemprop, and without texts none that needs them."""
    return [
        known.name
        for known in METHODS.values()
        if known.name not in ("chemprop", "lm-fine-tuned") and (with_texts or not known.needs_texts)
    ]


def method(name: str) -> Method:
    """Return a method by its name.

    Raises:
        UsageError: there is none; the message names those there are.
    """
    if name not in METHODS:
        raise UsageError(f"There is no method '{name}': choose out of {', '.join(METHODS)}.")
    return METHODS[name]


class _Stages:
    """First baselines, then teachers, then the lessons of the chosen ones, then students: each stage in one go."""

    def __init__(
        self,
        reading: Reading,
        cases: Sequence[Case],
        settings: Settings,
        show: Callable[[Done], None] | None,
        say: Callable[[str], None],
    ) -> None:
        self._reading, self._cases, self._settings, self._show, self._say = reading, cases, settings, show, say
        self._fits = settings.folder / "fits"

    # Baselines

    def baseline(self, known: Method) -> list[Run]:
        """Fit a baseline under every case."""
        self._say(known.summary)
        found = baselines.baseline(known.name)
        kept = predictions.Kept(self._settings.folder / "baselines", found, self._reading)
        return [
            self._run(known, case, kept.predict(case.split, case.seed, self._settings.tuned.get(known.name)))
            for case in self._cases
        ]

    # Teachers

    def teachers(self, methods: Sequence[Method]) -> list[Run]:
        """Train teachers on the whole training part, under every case."""
        if not methods:
            return []
        self._say("teachers")
        pairs = [(known, case) for known in methods for case in self._cases]
        learnt = self._learn([self._plan(known.name, case, folds=0) for known, case in pairs])
        return [
            self._run(known, case, lesson.prediction, whole)
            for (known, case), (lesson, whole) in zip(pairs, learnt, strict=True)
        ]

    def _plan(self, name: str, case: Case, folds: int, reading: Reading | None = None) -> LessonPlan:
        return LessonPlan.of(self._settings.recipe(name), reading or self._reading, case.split, case.seed, folds)

    def _learn(self, plans: Sequence[LessonPlan], reading: Reading | None = None) -> list[tuple[Lesson, Outcome]]:
        return learn(plans, reading or self._reading, self._fits, self._settings.trainers, self._show)

    # Students

    def students(self, methods: Sequence[Method]) -> list[Run]:
        """Distil students, under every case."""
        if not methods:
            return []
        lessons = self._lessons({known.listens for known in methods})
        students = dict(zip(self._cases, self._best_students(), strict=True))
        self._say("students")
        batch, named = Batch(self._reading), []
        for known in methods:
            for case in self._cases:
                chosen = self._settings.recipe("student-gallon") if known.listens == "gallon" else students[case]
                batch.add(chosen, case.split, case.seed, taught=self._taught(known.listens, case, lessons))
                named.append((known, case, chosen.name.removeprefix("student-")))
        outcomes = fit_all(batch.campaign, self._fits, self._settings.trainers, self._show)
        return [
            replace(self._run(known, case, outcome.prediction, outcome), chosen=chosen)
            for (known, case, chosen), outcome in zip(named, outcomes, strict=True)
        ]

    def _best_students(self) -> list[Recipe]:
        """Return, for each case, the student whose kind of input validates best without a teacher.

        All rows but GALLON's own are of that student: what one gains over another, it gains from its teachers.
        """
        self._say("students' inputs")
        candidates = [self._settings.recipe(f"student-{reads}") for reads in INPUTS]
        batch = Batch(self._reading)
        for case in self._cases:
            for candidate in candidates:
                batch.add(candidate, case.split, case.seed)
        outcomes = iter(fit_all(batch.campaign, self._fits, self._settings.trainers, self._show))
        return [best(candidates, [next(outcomes) for _ in candidates])[0] for _ in self._cases]

    def _lessons(self, listening: set[Listens]) -> dict[tuple[str, int], Lesson]:
        """Return what is to be listened to, by what it is called and the seed of the case."""
        plans: dict[tuple[str, int], LessonPlan] = {}
        folds = self._settings.folds
        if listening & {"gnn", "both", "shuffled"}:
            for case, name in zip(self._cases, self._best_graph_teachers(), strict=True):
                plans["gnn", case.seed] = self._plan(name, case, folds)
        if listening & {"lm", "both"}:
            plans |= {("lm", case.seed): self._plan(self._settings.lm, case, folds) for case in self._cases}
        if "gallon" in listening:
            for case in self._cases:  # as released: neither tuned nor out of fold
                for name, teacher in (("gallon gnn", GALLON_TEACHER), ("gallon lm", self._settings.lm)):
                    plans[name, case.seed] = LessonPlan.of(recipe(teacher), self._reading, case.split, case.seed, 0)
        self._say("lessons out of fold")
        learnt = self._learn(list(plans.values()))
        lessons = {name: lesson for name, (lesson, _) in zip(plans, learnt, strict=True)}
        if "shuffled" in listening:
            lessons |= self._shuffled_lessons()
        return lessons

    def _best_graph_teachers(self) -> list[str]:
        """Return, for each case, the graph teacher that validates best out of those in the table."""
        names = [
            name for name in self._settings.methods if method(name).kind == "teacher" and recipe(name).role == "gnn"
        ]
        names = names or [DEFAULT_GRAPH_TEACHER]
        self._say("graph teachers")
        learnt = self._learn([self._plan(name, case, 0) for name in names for case in self._cases])
        scores = np.array([whole.score for _, whole in learnt]).reshape(len(names), -1)
        return [names[row] for row in scores.argmax(axis=0)]

    def _shuffled_lessons(self) -> dict[tuple[str, int], Lesson]:
        if self._reading.annotations is None:
            return {}
        lessons: dict[tuple[str, int], Lesson] = {}
        shuffled = replace(self._reading, annotations=self._reading.annotations.shuffled(0))
        plans = [self._plan(self._settings.lm, case, self._settings.folds, shuffled) for case in self._cases]
        for case, (lesson, _) in zip(self._cases, self._learn(plans, shuffled), strict=True):
            lessons["shuffled", case.seed] = lesson
        return lessons

    def _taught(self, listens: Listens, case: Case, lessons: Mapping[tuple[str, int], Lesson]) -> Taught:
        names = LISTENED[listens]
        if not names:
            return NOTHING
        weights = self._settings.weights
        if listens == "gallon":
            weights = GALLON_CLASSES if self._reading.dataset.kind == "classification" else GALLON_NUMBERS
        return taught_by([lessons[name, case.seed] for name in names], weights, case.split)

    # What is judged

    def _run(self, known: Method, case: Case, prediction: NDArray[np.float32], outcome: Outcome | None = None) -> Run:
        dataset, split = self._reading.dataset, case.split
        whole = _filled(prediction, dataset.labels[split.train], dataset.kind)
        scores = {
            part: score(dataset.kind, dataset.labels[rows], whole[rows])
            for part, rows in (("valid", split.valid), ("test", split.test))
        }
        return Run(
            method=known.name,
            seed=case.seed,
            valid=scores["valid"][main_metric(dataset.kind)],
            test=scores["test"],
            prediction=whole,
            seconds=outcome.seconds if outcome else None,
        )


def _filled(prediction: NDArray[np.float32], labels: NDArray[np.float32], kind: Kind) -> NDArray[np.float32]:
    """Put what the training labels say where a teacher could not read a molecule: every row judges all of them."""
    from scipy.special import logit

    mean = np.nanmean(labels, axis=0)
    guess = logit(mean) if kind == "classification" else mean
    return np.where(np.isnan(prediction), guess, prediction).astype(np.float32)
