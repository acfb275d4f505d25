"""`gallon teach`: graph and language teachers of one dataset, trained, saved, and asked about every molecule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cluster.training.driver import FitProgress, TrainResources, fit_all
from distill.data.splits import PARTS, Split
from distill.learn import teacher_outputs
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.metrics import score
from distill.learn.recipes import Recipe
from distill.learn.saving import save
from distill.learn.teacher_outputs import CrossFitPlan, TeacherOutputs
from distill.models import model_store
from distill.models.ensemble import consensus
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cluster.training.fit import Outcome


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model that was trained: where it lies, and how good it is in each part of the split."""

    name: str
    path: Path
    metrics: Mapping[str, Mapping[str, float]]
    best_epoch: int
    seconds: float


def teach(
    model_inputs: ModelInputs,
    split: Split,
    teachers: Sequence[Recipe],
    *,
    seed: int,
    folds: int,
    folder: Path,
    resources: TrainResources,
    seeds: int = 1,
    show: Callable[[FitProgress], None] | None = None,
) -> list[Trained]:
    """Train teachers, and write each to a folder of its own: the model, and what it predicts as `outputs.parquet`.

    A teacher may be several networks, an ensemble: each has a seed, and folds, of its own, and a folder, and who learns
    from all of them hears their mean (`consensus`).

    Args:
        model_inputs: the dataset.
        split: its parts.
        teachers: their recipes.
        seed: of the training and of the folds.
        folds: that training molecules are predicted out of; 0 lets teachers predict what they have learnt from.
        folder: results lie in `folder/NAME` and, of further seeds, `folder/NAME-SEED`, fits in `folder/fits`; the same
            call goes on where it was stopped.
        resources: the workers.
        seeds: networks of each teacher, whose seeds count on from `seed`.
        show: called with the progress.

    Returns:
        Of each teacher its networks, and behind several of them their mean.

    Raises:
        UsageError: a recipe is a student's, there are fewer molecules than folds, or a folder holds something else.
        TrainingError: the workers kept dying.
    """
    for known in teachers:
        if known.role == "student":
            raise UsageError(f"'{known.name}' is a student, not a teacher.")
        if known.rules not in (None, "given"):
            raise UsageError(f"'{known.name}' is a control of 'gallon evaluate', and teaches nothing.")
    members = [
        (f"{known.name}-{seed + number}" if number else known.name, known, seed + number)
        for known in teachers
        for number in range(seeds)
    ]
    for name, _, _ in members:
        model_store.check_place(folder / name)
    plans = [CrossFitPlan.of(known, model_inputs, split, of_seed, folds) for _, known, of_seed in members]
    taught = learn(plans, model_inputs, folder / "fits", resources, show)
    trained = [
        _save(outputs, whole, plan, model_inputs, folder / name)
        for (name, _, _), plan, (outputs, (whole, *_)) in zip(members, plans, taught, strict=True)
    ]
    if seeds == 1:
        return trained
    found = []
    for first in range(0, len(trained), seeds):
        several = slice(first, first + seeds)
        together = consensus([outputs.prediction for outputs, _ in taught[several]], model_inputs.dataset.kind)
        found += [*trained[several], _mean_of(trained[several], judged(model_inputs, split, together), folder)]
    return found


def learn(
    plans: Sequence[CrossFitPlan],
    model_inputs: ModelInputs,
    fits: Path,
    resources: TrainResources,
    show: Callable[[FitProgress], None] | None = None,
) -> list[tuple[TeacherOutputs, list[Outcome]]]:
    """Do the fits of several plans in one go; return each teacher's outputs, and its fits, the whole one first."""
    batch = Batch(model_inputs)
    for plan in plans:
        plan.add_to(batch)
    outcomes = iter(fit_all(batch.fit_set, fits, resources, show))
    learnt = []
    for plan in plans:
        whole, *held_out = fits_of_plan = [next(outcomes) for _ in range(plan.fits)]
        learnt.append((plan.outputs(whole, held_out, model_inputs), fits_of_plan))
    return learnt


def judged(model_inputs: ModelInputs, split: Split, prediction: NDArray[np.float32]) -> dict[str, dict[str, float]]:
    """Score predictions in each part of the split, of each target over the molecules that there is a prediction for."""
    dataset = model_inputs.dataset

    def scores(rows: NDArray[np.int64]) -> dict[str, float]:
        unknown = np.isnan(prediction[rows])
        truth = np.where(unknown, np.nan, dataset.labels[rows])
        return score(dataset.kind, truth, np.where(unknown, 0, prediction[rows]))

    return {name: scores(getattr(split, name)) for name in PARTS}


def _mean_of(trained: Sequence[Trained], metrics: Mapping[str, Mapping[str, float]], folder: Path) -> Trained:
    """Return how good several networks are together; their mean has no epoch, and no folder but the one they are in."""
    return Trained(
        name=f"{trained[0].name}, mean of {counted(len(trained), 'seed')}",
        path=folder,
        metrics=metrics,
        best_epoch=0,
        seconds=sum(each.seconds for each in trained),
    )


def _save(
    outputs: TeacherOutputs, whole: Outcome, plan: CrossFitPlan, model_inputs: ModelInputs, place: Path
) -> Trained:
    metrics = judged(model_inputs, plan.split, outputs.prediction)
    spec = model_inputs.annotations.spec if model_inputs.annotations and plan.recipe.role == "lm" else None
    save(place, plan.recipe, model_inputs, plan.split, whole, seed=plan.seed, metrics=metrics, spec=spec)
    teacher_outputs.write(outputs, model_inputs, plan.split, place / model_store.OUTPUTS)
    return Trained(
        name=place.name,
        path=place,
        metrics=metrics,
        best_epoch=whole.best_epoch,
        seconds=whole.seconds,
    )
