"""`gallon teach`: graph and language teachers of one dataset, trained, saved, and asked about every molecule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cluster.training.driver import Done, Trainers, fit_all
from distill.data.splits import PARTS, Split
from distill.learn import lessons, saved
from distill.learn.fits import Batch
from distill.learn.inputs import Reading
from distill.learn.lessons import Lesson, LessonPlan
from distill.learn.metrics import score
from distill.learn.recipes import Recipe
from teacher.errors import UsageError

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
    reading: Reading,
    split: Split,
    teachers: Sequence[Recipe],
    *,
    seed: int,
    folds: int,
    folder: Path,
    trainers: Trainers,
    show: Callable[[Done], None] | None = None,
) -> list[Trained]:
    """Train teachers, and write each to a folder of its own: the model, and its lesson as `lesson.parquet`.

    Args:
        reading: the dataset.
        split: its parts.
        teachers: their recipes.
        seed: of the training and of the folds.
        folds: that training molecules are predicted out of; 0 lets teachers predict what they have learnt from.
        folder: results lie in `folder/NAME`, fits in `folder/fits`; the same call goes on where it was stopped.
        trainers: the workers.
        show: called with the progress.

    Raises:
        UsageError: a recipe is a student's, there are fewer molecules than folds, or a folder holds something else.
        TrainingError: the workers kept dying.
    """
    for known in teachers:
        if known.role == "student":
            raise UsageError(f"'{known.name}' is a student, not a teacher.")
        saved.check_place(folder / known.name)
    plans = [LessonPlan.of(known, reading, split, seed, folds) for known in teachers]
    taught = learn(plans, reading, folder / "fits", trainers, show)
    return [_save(lesson, whole, plan, reading, folder) for plan, (lesson, whole) in zip(plans, taught, strict=True)]


def learn(
    plans: Sequence[LessonPlan],
    reading: Reading,
    fits: Path,
    trainers: Trainers,
    show: Callable[[Done], None] | None = None,
) -> list[tuple[Lesson, Outcome]]:
    """Do the fits of several lessons in one go; return each lesson with what came of its whole fit."""
    batch = Batch(reading)
    for plan in plans:
        plan.add_to(batch)
    outcomes = iter(fit_all(batch.campaign, fits, trainers, show))
    learnt = []
    for plan in plans:
        whole, *held_out = (next(outcomes) for _ in range(plan.fits))
        learnt.append((plan.lesson(whole, held_out, reading), whole))
    return learnt


def judged(reading: Reading, split: Split, prediction: NDArray[np.float32]) -> dict[str, dict[str, float]]:
    """Score predictions in each part of the split, over the molecules that there is a prediction for."""
    known = ~np.isnan(prediction.sum(axis=1))
    parts = {name: getattr(split, name)[known[getattr(split, name)]] for name in PARTS}
    dataset = reading.dataset
    return {name: score(dataset.kind, dataset.labels[rows], prediction[rows]) for name, rows in parts.items()}


def _save(lesson: Lesson, whole: Outcome, plan: LessonPlan, reading: Reading, folder: Path) -> Trained:
    place = folder / lesson.teacher
    metrics = judged(reading, plan.split, lesson.prediction)
    spec = reading.annotations.spec if reading.annotations and plan.recipe.role == "lm" else None
    saved.save(place, plan.recipe, reading, plan.split, whole, seed=plan.seed, metrics=metrics, spec=spec)
    lessons.write(lesson, reading, plan.split, place / saved.LESSON)
    return Trained(
        name=lesson.teacher,
        path=place,
        metrics=metrics,
        best_epoch=whole.best_epoch,
        seconds=whole.seconds,
    )
