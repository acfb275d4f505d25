"""Train teachers, and distill students from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cluster.training.driver import FitProgress
from distill.features.pretrained import check_installed
from distill.features.vectors import descriptor_set
from distill.learn import distillation, teacher_outputs
from distill.learn.recipes import INPUTS, Recipe, recipe
from distill.learn.teach import Trained
from distill.learn.teach import teach as train
from distill.models.model_store import check_place
from gallon.api.data import TrainingSession, training_session
from gallon.api.library import StrPath, listed, store_named
from gallon.config import DataConfig, ObjectiveConfig, TrainConfig, TransferConfig
from gallon.progress import Phase, ProgressCallback, phase

GRAPH_TEACHER, LANGUAGE_TEACHER = "dmpnn", "lm"


def teach(
    data: StrPath,
    *,
    labels: DataConfig,
    training: TrainConfig,
    teacher: str | Sequence[str] | None = None,
    folds: int = 5,
    tuning: StrPath | None = None,
    spec_id: str | None = None,
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> list[Trained]:
    """Train graph and language teachers on labelled molecules; the same call again goes on where it was stopped.

    Args:
        data: a table with labels, or a name of MoleculeNet.
        labels: the columns, and the split.
        training: how networks are trained, and where results go.
        teacher: names of recipes; by default `dmpnn`, and `lm` where the store has annotations.
        folds: that training molecules are predicted out of; 0: none.
        tuning: a `tuning.json` of `evaluate`, whose settings are used.
        spec_id: the spec of the annotations, or the beginning of its id.
        store: that has the annotations.
        progress: called as fits go on.

    Raises:
        UsageError: data or settings are wrong.
        TrainingError: a fit failed.
    """
    names = list(dict.fromkeys(listed(teacher or ())))

    def check_folder(folder: Path) -> None:
        for name in names or [GRAPH_TEACHER, LANGUAGE_TEACHER]:
            check_place(folder / name)
            if kind := recipe(name).pretrained:
                check_installed(kind)

    reads_texts = not names or any(recipe(name).role == "lm" for name in names)
    with training_session(
        data,
        labels,
        training,
        check_folder,
        store=store_named(store) if reads_texts else None,
        spec_id=spec_id,
        tuning=tuning,
        progress=progress,
    ) as session:
        default = [GRAPH_TEACHER, *([LANGUAGE_TEACHER] if session.model_inputs.annotations else [])]
        recipes = [session.recipe(name) for name in names or default]
        return train_teachers(session, recipes, seed=labels.seed, folds=folds, progress=progress)


def distill(
    data: StrPath,
    *,
    labels: DataConfig,
    training: TrainConfig,
    objective: ObjectiveConfig,
    transfer: TransferConfig,
    teacher_folder: StrPath | Sequence[StrPath] | None = None,
    student_input: str | Sequence[str] | None = None,
    tuning: StrPath | None = None,
    spec_id: str | None = None,
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> Trained:
    """Distill a student, a small MLP that scores whole libraries, from teachers.

    Takes the same data and split as the `teach` before it. Of several inputs the one that validates best is kept.

    Args:
        data: as for `teach`.
        labels: likewise.
        training: likewise.
        objective: the terms of the student's loss.
        transfer: a library without labels; the language teacher predicts those of its molecules that are annotated.
        teacher_folder: one or several teachers; by default those that `teach` left.
        student_input: inputs to try (`atoms`, `atoms-1hop`, `fingerprint`); by default all.
        tuning: a `tuning.json` of `evaluate`, whose settings are used.
        spec_id: the spec of the annotations, or the beginning of its id.
        store: that has the annotations of the transfer set.
        progress: called as fits go on.

    Raises:
        UsageError: data, settings or teachers are wrong.
        TrainingError: a fit failed.
    """
    descriptors = descriptor_set(objective.descriptors)
    with training_session(
        data,
        labels,
        training,
        lambda folder: check_place(folder / "student"),
        store=store_named(store) if transfer.transfer else None,
        spec_id=spec_id,
        transfer=transfer,
        tuning=tuning,
        progress=progress,
    ) as session:
        students = [session.recipe(f"student-{name}") for name in listed(student_input or INPUTS)]
        return distill_from(
            session,
            [Path(folder) for folder in listed(teacher_folder or ())],
            students=[replace(known, descriptors=descriptors) for known in students],
            seed=labels.seed,
            weights=_weights(objective, has_transfer_set=bool(transfer.transfer)),
            progress=progress,
        )


def train_teachers(
    session: TrainingSession, teachers: Sequence[Recipe], *, seed: int, folds: int, progress: ProgressCallback | None
) -> list[Trained]:
    """Train teachers in a session."""
    with phase(progress, "teachers", "fits") as running:
        return train(
            session.model_inputs,
            session.splits[0],
            teachers,
            seed=seed,
            folds=folds,
            folder=session.folder,
            resources=session.resources,
            show=fits_of(running),
        )


def distill_from(
    session: TrainingSession,
    teachers: Sequence[Path],
    *,
    students: Sequence[Recipe],
    seed: int,
    weights: distillation.Weights,
    progress: ProgressCallback | None,
) -> Trained:
    """Distill a student in a session, from teachers in these folders, or else from those in the session's folder."""
    split = session.splits[0]
    found = teacher_outputs.read_all(teachers or teacher_outputs.find(session.folder), session.model_inputs, split)
    with phase(progress, "students", "fits") as running:
        return distillation.distill_student(
            session.model_inputs,
            split,
            [outputs for outputs, _ in found],
            students=students,
            weights=weights,
            seed=seed,
            folder=session.folder,
            resources=session.resources,
            teachers=[card for _, card in found],
            show=fits_of(running),
        )


def fits_of(running: Phase) -> Callable[[FitProgress], None]:
    """Return what tells a phase of the fits that are done."""
    return lambda fits: running.update(fits.done, fits.all)


def _weights(objective: ObjectiveConfig, *, has_transfer_set: bool) -> distillation.Weights:
    default = distillation.WITH_TRANSFER_SET if has_transfer_set else distillation.Weights()
    return distillation.Weights(
        soft_gnn=default.soft_gnn if objective.soft_gnn is None else objective.soft_gnn,
        soft_lm=objective.soft_lm,
        hidden_gnn=objective.hidden_gnn,
        hidden_lm=objective.hidden_lm,
        temperature=objective.soft_temperature,
    )
