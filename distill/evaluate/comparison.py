"""`gallon evaluate`: many methods on one dataset, over seeds, in a table that a sceptic would believe.

Every choice (the best epoch, the graph teacher that is distilled, the student's input, what Optuna tries) is made on
the validation part; the test part decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.training.driver import FitProgress, fit_all
from distill.evaluate import predictions
from distill.evaluate.baselines import catalog
from distill.evaluate.budget import DEFAULT_LM, GRAPH_NETWORKS, GRAPH_TEACHERS, INPUTS_TRIED, Budget, Settings, behind
from distill.evaluate.methods import AS_RELEASED, BEST_NETWORK, GALLON_GNN, LISTENED, Method, graph_teachers, method
from distill.judge.judged import Judged, SeededSplit
from distill.judge.run import Run, scored
from distill.learn.distillation import (
    GALLON,
    GLNN,
    best,
    learn_pseudo_labels,
    learned_from,
    mugsi_targets,
    targets_from,
)
from distill.learn.fits import NOTHING, Batch, DistillationTargets
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import INPUTS, RECIPES, Recipe, recipe
from distill.learn.teach import learn
from distill.learn.teacher_outputs import CrossFitPlan, TeacherOutputs, with_parts, with_transfer_set
from distill.models.ensemble import consensus
from teacher.errors import UsageError
from teacher.nn.registry import ARCHITECTURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cluster.training.fit import Outcome

GALLON_TEACHER = "gallon-gcn"

# By the teachers' name (`methods.Method.teachers`) and the seed of the split.
OutputsByTeacher = dict[tuple[str, int], TeacherOutputs]


def compare(
    model_inputs: ModelInputs,
    judged: Judged,
    cases: Sequence[SeededSplit],
    settings: Settings,
    show: Callable[[FitProgress], None] | None = None,
) -> list[Run]:
    """Do every method under every case; runs come method by method, in the order of the settings.

    Args:
        model_inputs: the dataset.
        judged: what is judged by, of the same dataset and cases.
        cases: seeds and splits.
        settings: what is compared, and how.
        show: called with the progress of each stage.

    Raises:
        UsageError: a method is not known, or needs what is not there.
        TrainingError: the workers kept dying; the same call goes on.
    """
    methods = [method(name) for name in settings.methods]
    check_transfer(methods, model_inputs)
    stages = _Stages(model_inputs, judged, cases, settings, show)
    of_predictor = [run for known in methods if known.kind == "predictor" for run in stages.predictor(known)]
    of_baselines = stages.baselines([known for known in methods if known.kind == "baseline"])
    of_teachers = stages.teachers([known for known in methods if known.kind == "teacher"])
    of_mean = [run for known in methods if known.kind == "mean" for run in stages.mean_of_teachers(known)]
    of_students = stages.students([known for known in methods if known.kind == "student"])
    of_pseudo_labels = [
        run for known in methods if known.kind == "pseudo-labels" for run in stages.pseudo_labels(known)
    ]
    rows = {known.name: number for number, known in enumerate(methods)}
    runs = [*of_predictor, *of_baselines, *of_teachers, *of_mean, *of_students, *of_pseudo_labels]
    return sorted(runs, key=lambda run: rows[run.method])


def check_transfer(methods: Sequence[Method], model_inputs: ModelInputs) -> None:
    """Refuse students of molecules without labels where there are none.

    Raises:
        UsageError: there is no transfer set.
    """
    if model_inputs.transfer is None and (lost := [known.name for known in methods if known.transfer]):
        raise UsageError(f"{', '.join(lost)} learns of molecules without labels: name a library of them by --transfer.")


class _Stages:
    """First baselines, then teachers, then the outputs of the chosen ones, then students: each stage in one go."""

    def __init__(
        self,
        model_inputs: ModelInputs,
        judged: Judged,
        cases: Sequence[SeededSplit],
        settings: Settings,
        show: Callable[[FitProgress], None] | None,
    ) -> None:
        self._model_inputs, self._judged, self._cases = model_inputs, judged, cases
        self._settings, self._show = settings, show
        self._fits = settings.folder / "fits"
        self._outcomes: dict[tuple[str, int], list[Outcome]] = {}  # behind a choice or a teacher, by its name and seed

    # Baselines

    def baselines(self, methods: Sequence[Method]) -> list[Run]:
        """Fit baselines under every case, one by one in this process."""
        pairs = [(known, case) for known in methods for case in self._cases]
        ids = frozenset(f"{known.name} {case.seed}" for known, case in pairs)
        runs: list[Run] = []
        for known, case in pairs:
            found = catalog.baseline(known.name)
            kept = predictions.CachedPredictions(self._settings.folder / "baselines", found, self._model_inputs)
            predicted = kept.predict(case.split, case.seed, self._settings.tuned.get(known.name))
            budget = Budget(1, predicted.seconds)
            runs.append(self._run(known, case, predicted.values, predicted.seconds, budget))
            if self._show:
                self._show(FitProgress(len(runs), len(pairs), ids=ids))
        return runs

    # Teachers

    def teachers(self, methods: Sequence[Method]) -> list[Run]:
        """Train teachers on the whole training part, under every case."""
        if not methods:
            return []
        pairs = [(known, case) for known in methods for case in self._cases]
        learnt = self._learn([self._plan(known.name, case, folds=0) for known, case in pairs])
        return [
            self._run(known, case, self._said(outputs.prediction), fits[0].seconds, Budget.of(fits))
            for (known, case), (outputs, fits) in zip(pairs, learnt, strict=True)
        ]

    def mean_of_teachers(self, known: Method) -> list[Run]:
        """Average what the teachers of `student+both` say; where one is silent, the other speaks alone."""
        pairs = [
            (name, case)
            for case, graph in zip(self._cases, self._best_graph_teachers(), strict=True)
            for name in (graph, self._settings.lm)
        ]
        learnt = self._learn([self._plan(name, case, folds=0) for name, case in pairs])
        runs = []
        for (graph, case), *both in zip(pairs[::2], learnt[::2], learnt[1::2], strict=True):
            mean = consensus([outputs.prediction for outputs, _ in both], self._model_inputs.dataset.kind)
            fits = [outcome for _, outcomes in both for outcome in outcomes]
            budget = Budget.of([*fits, *self._outcomes[GRAPH_TEACHERS, case.seed]])
            run = self._run(known, case, self._said(mean), Budget.of(fits).seconds, budget)
            runs.append(replace(run, chosen=graph))
        return runs

    def predictor(self, known: Method) -> list[Run]:
        """Take what the LLM itself predicts."""
        values = self._model_inputs.guessed.values[:, None]
        return [self._run(known, case, values, None, Budget(0, 0.0)) for case in self._cases]

    def pseudo_labels(self, known: Method) -> list[Run]:
        """Let the student learn what the LLM predicts of the transfer set, at the weight that validates best."""
        resources, show = self._settings.resources, self._show
        students = self._best_students
        cases = [(one, case.split, case.seed) for one, case in zip(students, self._cases, strict=True)]
        learnt = learn_pseudo_labels(self._model_inputs, cases, self._fits, resources=resources, show=show)
        runs = []
        for case, (weight, outcome, tried) in zip(self._cases, learnt, strict=True):
            budget = Budget.of([*tried, *self._outcomes[INPUTS_TRIED, case.seed]])
            run = self._run(known, case, self._said(outcome.prediction), outcome.seconds, budget)
            runs.append(replace(run, chosen=f"weight {weight:g}"))
        return runs

    def _plan(self, name: str, case: SeededSplit, folds: int, model_inputs: ModelInputs | None = None) -> CrossFitPlan:
        return CrossFitPlan.of(
            self._settings.recipe(name), model_inputs or self._model_inputs, case.split, case.seed, folds
        )

    def _learn(
        self, plans: Sequence[CrossFitPlan], model_inputs: ModelInputs | None = None
    ) -> list[tuple[TeacherOutputs, list[Outcome]]]:
        return learn(plans, model_inputs or self._model_inputs, self._fits, self._settings.resources, self._show)

    # Students

    def students(self, methods: Sequence[Method]) -> list[Run]:
        """Distill students, under every case."""
        if not methods:
            return []
        teacher_outputs = self._teacher_outputs(methods)
        students = self._students_of(methods)
        wider = self._model_inputs.transfer or self._model_inputs
        return [
            *self._distilled(
                [known for known in methods if not known.transfer], self._model_inputs, students, teacher_outputs
            ),
            *self._distilled([known for known in methods if known.transfer], wider, students, teacher_outputs),
        ]

    def _students_of(self, methods: Sequence[Method]) -> dict[tuple[str, SeededSplit], Recipe]:
        """Return the recipe of each method's student under each case."""
        recipes: dict[tuple[str, SeededSplit], Recipe] = {}
        for known in methods:
            if known.released:
                chosen = [self._settings.recipe(AS_RELEASED)] * len(self._cases)
            elif known.student:
                chosen = [self._settings.recipe(known.student)] * len(self._cases)
            elif known.network == BEST_NETWORK:
                chosen = [self._settings.recipe(name) for name in self._best_graph_teachers(ARCHITECTURES)]
            elif known.network:
                chosen = [self._settings.recipe(known.network)] * len(self._cases)
            else:
                chosen = self._best_students
            recipes |= {(known.name, case): one for case, one in zip(self._cases, chosen, strict=True)}
        return recipes

    def _distilled(
        self,
        methods: Sequence[Method],
        model_inputs: ModelInputs,
        students: Mapping[tuple[str, SeededSplit], Recipe],
        teacher_outputs: OutputsByTeacher,
    ) -> list[Run]:
        """Train students that read the same molecules."""
        batch, named = Batch(model_inputs), []
        for known in methods:
            for case in self._cases:
                chosen = students[known.name, case]
                rows = learned_from(self._model_inputs, case.split) if known.transfer else None
                batch.add(
                    chosen, case.split, case.seed, train=rows, targets=self._targets(known, case, teacher_outputs)
                )
                named.append((known, case, self._told(known, chosen)))
        outcomes = fit_all(batch.fit_set, self._fits, self._settings.resources, self._show)
        return [
            replace(
                self._run(
                    known, case, self._said(outcome.prediction), outcome.seconds, self._budget(known, case, outcome)
                ),
                chosen=chosen,
            )
            for (known, case, chosen), outcome in zip(named, outcomes, strict=True)
        ]

    def _told(self, known: Method, chosen: Recipe) -> str:
        """Return what is told of a student beside its row: what it reads, and who wrote what it learns from."""
        reads = chosen.name.removeprefix("student-")
        return reads if self._settings.lm == DEFAULT_LM or not known.needs_texts else f"{reads} of {self._settings.lm}"

    def _budget(self, known: Method, case: SeededSplit, outcome: Outcome) -> Budget:
        """Return what a student costs: itself, the choice of its input, and its teachers with the choice of these."""
        return Budget.of([outcome, *(each for name in behind(known) for each in self._outcomes[name, case.seed])])

    @cached_property
    def _best_students(self) -> list[Recipe]:
        """Return, for each case, the student whose kind of input validates best without a teacher.

        All rows `student...` are of that student: what one gains over another, it gains from its teachers.
        """
        candidates = [self._settings.recipe(f"student-{reads}") for reads in INPUTS]
        batch = Batch(self._model_inputs)
        for case in self._cases:
            for candidate in candidates:
                batch.add(candidate, case.split, case.seed)
        outcomes = iter(fit_all(batch.fit_set, self._fits, self._settings.resources, self._show))
        for case in self._cases:
            self._outcomes[INPUTS_TRIED, case.seed] = [next(outcomes) for _ in candidates]
        return [best(candidates, self._outcomes[INPUTS_TRIED, case.seed])[0] for case in self._cases]

    def _teacher_outputs(self, methods: Sequence[Method]) -> OutputsByTeacher:
        """Return what is to be listened to."""
        listening = {known.listens for known in methods if not known.released}
        of_gallon = {name for known in methods if known.released for name in known.teachers}
        plans: dict[tuple[str, int], CrossFitPlan] = {}
        folds = self._settings.folds
        if listening & {"gnn", "both", "shuffled"}:
            for case, name in zip(self._cases, self._best_graph_teachers(), strict=True):
                plans["gnn", case.seed] = self._plan(name, case, folds)
        if "network" in listening:
            for case, name in zip(self._cases, self._best_graph_teachers(ARCHITECTURES), strict=True):
                plans["network", case.seed] = self._plan(name, case, folds)
        if listening & {"lm", "both"}:
            plans |= {("lm", case.seed): self._plan(self._settings.lm, case, folds) for case in self._cases}
        for name in sorted(of_gallon):  # as released: neither tuned nor out of fold
            teacher = recipe(GALLON_TEACHER if name == GALLON_GNN else self._settings.lm).as_released()
            for case in self._cases:
                plans[name, case.seed] = CrossFitPlan.of(teacher, self._model_inputs, case.split, case.seed, 0)
        learnt = dict(zip(plans, self._learn(list(plans.values())), strict=True))
        self._outcomes |= {key: fits for key, (_, fits) in learnt.items()}
        teacher_outputs = {
            (name, seed): with_parts(outputs, plans[name, seed].recipe, fits[0].weights, self._model_inputs)
            if name == "network"
            else outputs
            for (name, seed), (outputs, fits) in learnt.items()
        }
        for known in methods:
            if known.transfer:
                teacher_outputs |= self._of_transfer_set(known, plans, learnt)
        if "shuffled" in listening:
            teacher_outputs |= self._shuffled_outputs()
        return teacher_outputs

    def _of_transfer_set(
        self,
        known: Method,
        plans: Mapping[tuple[str, int], CrossFitPlan],
        learnt: Mapping[tuple[str, int], tuple[TeacherOutputs, list[Outcome]]],
    ) -> dict[tuple[str, int], TeacherOutputs]:
        """Let the teachers of a method speak of the transfer set, too."""
        return {
            (wider, case.seed): with_transfer_set(
                learnt[name, case.seed][0],
                plans[name, case.seed].recipe,
                learnt[name, case.seed][1][0].weights,
                self._model_inputs,
                case.split,
            )
            for name, wider in zip(LISTENED[known.listens], known.teachers, strict=True)
            for case in self._cases
        }

    def _best_graph_teachers(self, known: Container[str] = RECIPES) -> list[str]:
        """Return, for each case, the graph teacher that validates best out of those in the table that are `known`."""
        names = graph_teachers(self._settings.methods, known)
        learnt = self._learn([self._plan(name, case, 0) for name in names for case in self._cases])
        of_cases = [[whole for _, (whole,) in learnt[place :: len(self._cases)]] for place in range(len(self._cases))]
        for case, outcomes in zip(self._cases, of_cases, strict=True):
            self._outcomes[GRAPH_TEACHERS if known is RECIPES else GRAPH_NETWORKS, case.seed] = outcomes
        return [names[int(np.argmax([outcome.score for outcome in outcomes]))] for outcomes in of_cases]

    def _shuffled_outputs(self) -> OutputsByTeacher:
        if self._model_inputs.annotations is None:
            return {}
        teacher_outputs: dict[tuple[str, int], TeacherOutputs] = {}
        shuffled = replace(self._model_inputs, annotations=self._model_inputs.annotations.shuffled(0))
        plans = [self._plan(self._settings.lm, case, self._settings.folds, shuffled) for case in self._cases]
        for case, (outputs, fits) in zip(self._cases, self._learn(plans, shuffled), strict=True):
            teacher_outputs["shuffled", case.seed] = outputs
            self._outcomes["shuffled", case.seed] = fits
        return teacher_outputs

    def _targets(self, known: Method, case: SeededSplit, teacher_outputs: OutputsByTeacher) -> DistillationTargets:
        if not known.teachers:
            return NOTHING
        weights = self._settings.weights_with_transfer_set if known.transfer else self._settings.weights
        if known.released:
            weights = GALLON[self._model_inputs.dataset.kind]
        if known.student:
            weights = GLNN
        heard = [teacher_outputs[name, case.seed] for name in known.teachers]
        if known.terms:
            return mugsi_targets(heard[0], known.terms)
        return targets_from(heard, weights, case.split, self._model_inputs.dataset.kind)

    # What is judged

    def _said(self, prediction: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what a network says, as probabilities where it says logits."""
        from scipy.special import expit

        exact = prediction.astype(np.float64)  # float32 makes ties of probabilities near 1
        probabilities: NDArray[np.float64] = expit(exact)
        return probabilities if self._model_inputs.dataset.kind == "classification" else exact

    def _run(
        self,
        known: Method,
        case: SeededSplit,
        prediction: NDArray[np.floating[Any]],
        seconds: float | None,
        budget: Budget,
    ) -> Run:
        """Score a method; where a teacher could not read a molecule, the mean of the training labels stands in."""
        dataset = self._model_inputs.dataset
        said = prediction[: len(dataset)].astype(np.float64)
        mean = np.nanmean(dataset.labels[case.split.train], axis=0, dtype=np.float64)
        return scored(
            self._judged,
            self._judged.by_seed[case.seed],
            np.where(np.isnan(said), mean, said),
            method=known.name,
            seed=case.seed,
            seconds=seconds,
            fits=budget.fits,
            spent=budget.seconds,
        )
