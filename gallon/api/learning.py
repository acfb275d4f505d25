"""Train teachers, and distill students from them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.training.driver import FitProgress, FitTally
from distill.features.pretrained.encoders import check_installed
from distill.features.vectors import descriptor_set
from distill.learn import distillation, teacher_outputs
from distill.learn.fits import check_readable
from distill.learn.recipes import FINE_TUNED, INPUTS, VECTORS_OF, Recipe, recipe
from distill.learn.start import beginning_with, names_beside
from distill.learn.teach import Trained
from distill.learn.teach import teach as train
from distill.library.prepared import PreparedLibrary
from distill.library.teaching import LibraryTeaching
from distill.models.model_store import check_place
from distill.models.pretraining import Start
from gallon.api.data import TrainingSession, results_folder, training_session
from gallon.api.library import StrPath, listed, store_named
from gallon.config import DataConfig, ObjectiveConfig, TeachingConfig, TrainConfig, TransferConfig, check_folds
from gallon.progress import Phase, ProgressCallback, phase
from teacher.errors import UsageError
from teacher.files import placed
from teacher.nn.registry import ARCHITECTURES
from teacher.wording import counted

if TYPE_CHECKING:
    from distill.data.cells import Kind
    from distill.data.splits import Split
    from distill.learn.inputs import ModelInputs

logger = logging.getLogger(__name__)

GRAPH_TEACHER, LANGUAGE_TEACHER = "dmpnn", "lm"
GALLON_GCN = "gallon-gcn"
PERCEPTRON = "mlp"
FOLDS = 5


def teach(
    data: StrPath,
    *,
    labels: DataConfig,
    training: TrainConfig,
    teacher: str | Sequence[str] | None = None,
    preset: str | None = None,
    folds: int | None = None,
    seeds: int = 1,
    start: StrPath | None = None,
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
        preset: "gallon": where nothing else is said, `gallon-gcn` and, with annotations, `lm-fine-tuned` read at its
            first token, which predict what they have learnt from.
        folds: that training molecules are predicted out of; 0: none; by default 5.
        seeds: networks of each teacher, whose seeds count on from that of the configuration.
        start: a folder of `pretrain`, with whose network, all but its head, the graph teacher of its kind begins, which
            is the only one by default.
        tuning: a `tuning.json` of `evaluate`, whose settings are used.
        spec_id: the spec of the annotations, or the beginning of its id.
        store: that has the annotations.
        progress: called as fits go on.

    Raises:
        UsageError: data or settings are wrong.
        TrainingError: a fit failed.
    """
    check_folds(folds)
    if seeds < 1:
        raise UsageError(f"A teacher is one network at least, not {seeds}: correct seeds.")
    released = _is_preset(preset)
    defaults = (GALLON_GCN, FINE_TUNED) if released else (GRAPH_TEACHER, LANGUAGE_TEACHER)
    if released:
        training = replace(training, pooling=training.pooling or "cls")
        folds = folds or 0
    names = list(dict.fromkeys(listed(teacher or ())))
    beginning = Start.read(placed(start)) if start else None
    if beginning:
        names = names_beside(beginning, names)

    def check_folder(folder: Path) -> None:
        for name in names or defaults:
            check_place(folder / name)
            if kind := recipe(name).pretrained:
                check_installed(kind)
            if recipe(name).rules:
                check_named(training.rules)

    def check_inputs(model_inputs: ModelInputs, splits: Sequence[Split]) -> None:
        if not training.on_demand:
            for name in names:
                check_readable(recipe(name), model_inputs, splits[0])

    reads_texts = not names or any(recipe(name).role == "lm" for name in names)
    with training_session(
        data,
        labels,
        training,
        check_folder,
        store=store_named(store) if reads_texts else None,
        spec_id=spec_id,
        tuning=tuning,
        check_inputs=check_inputs,
        progress=progress,
    ) as session:
        default = defaults if session.model_inputs.annotations else defaults[:1]
        recipes = [session.recipe(name) for name in names or default]
        if beginning:
            beginning.refuse_seen_labels(session.model_inputs.dataset, session.splits[0])
            recipes = beginning_with(beginning, recipes)
        held_out = FOLDS if folds is None else folds
        return train_teachers(session, recipes, seed=labels.seed, folds=held_out, seeds=seeds, progress=progress)


def distill(
    data: StrPath,
    *,
    labels: DataConfig,
    training: TrainConfig,
    objective: ObjectiveConfig,
    transfer: TransferConfig,
    teaching: TeachingConfig,
    teacher_folder: StrPath | Sequence[StrPath] | None = None,
    student: str = PERCEPTRON,
    student_input: str | Sequence[str] | None = None,
    preset: str | None = None,
    seeds: int = 1,
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
        teaching: a prepared library without labels, whose molecules are streamed; graph teachers score each of them
            once, and what they say is kept in its folder. Molecules of the labelled data, whatever their part, are left
            out.
        teacher_folder: one or several teachers; by default those that `teach` left.
        student: "mlp", or the graph network that learns from the teachers in its place: `gcn`, `gin`, `gat`, `dmpnn`.
        student_input: of an MLP, inputs to try (`atoms`, `atoms-1hop`, `fingerprint`); by default all. `gallon` is
            GALLON's own student, as released.
        preset: "gallon": where nothing else is said, its student and its objective.
        seeds: networks of the student, whose seeds count on from that of the configuration; they predict as their mean.
        tuning: a `tuning.json` of `evaluate`, whose settings are used.
        spec_id: the spec of the annotations, or the beginning of its id.
        store: that has the annotations of the transfer set.
        progress: called as fits go on.

    Raises:
        UsageError: data, settings or teachers are wrong.
        TrainingError: a fit failed.
    """
    if seeds < 1:
        raise UsageError(f"A student is one network at least, not {seeds}: correct seeds.")
    descriptors = descriptor_set(objective.descriptors)
    inputs = listed(student_input or ())
    _check_student(student, inputs)
    if _is_preset(preset):
        objective = replace(objective, objective=objective.objective or "gallon")
        inputs = inputs or ["gallon"]
    check_objective(objective.objective)
    if transfer.transfer and teaching.library:
        raise UsageError("--transfer and --library exclude each other: a student learns from one library.")
    library = PreparedLibrary.open(teaching.library) if teaching.library else None
    names, teachers = _students_named(student, inputs), [placed(folder) for folder in listed(teacher_folder or ())]
    with training_session(
        data,
        labels,
        training,
        lambda folder: check_place(folder / "student"),
        store=store_named(store) if transfer.transfer else None,
        spec_id=spec_id,
        transfer=transfer,
        tuning=tuning,
        check_inputs=functools.partial(_check_teachers, teachers, results_folder(data, training)),
        progress=progress,
    ) as session:
        students = [session.recipe(name) for name in names]
        if objective.objective == "gallon":
            students = [known.as_released() for known in students]
        if training.rules:
            students = [replace(known, rules="given") if known.reads in VECTORS_OF else known for known in students]
        return distill_from(
            session,
            teachers,
            students=[replace(known, descriptors=descriptors) for known in students],
            seed=labels.seed,
            weights=_weights(
                objective, session.model_inputs.dataset.kind, has_transfer_set=bool(transfer.transfer or library)
            ),
            library=_selected(library, teaching, session, labels.seed) if library else None,
            seeds=seeds,
            progress=progress,
        )


def _students_named(student: str, inputs: Sequence[str]) -> list[str]:
    names = [f"student-{name}" for name in inputs or INPUTS] if student == PERCEPTRON else [student]
    return [recipe(name).name for name in names]


def _check_teachers(teachers: Sequence[Path], results: Path, read: ModelInputs, splits: Sequence[Split]) -> None:
    teacher_outputs.check_all(teachers or teacher_outputs.find(results), read.dataset, splits[0])


def train_teachers(
    session: TrainingSession,
    teachers: Sequence[Recipe],
    *,
    seed: int,
    folds: int,
    progress: ProgressCallback | None,
    seeds: int = 1,
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
            seeds=seeds,
            show=fits_of(running),
        )


def distill_from(
    session: TrainingSession,
    teachers: Sequence[Path],
    *,
    students: Sequence[Recipe],
    seed: int,
    weights: distillation.Weights,
    library: LibraryTeaching | None = None,
    seeds: int = 1,
    progress: ProgressCallback | None,
) -> Trained:
    """Distill a student in a session, from teachers in these folders, or else from those in the session's folder."""
    split = session.splits[0]
    folders = teachers or teacher_outputs.find(session.folder)
    found = teacher_outputs.read_all(folders, session.model_inputs, split)
    source = None
    if library:
        library.check(students)
        students = [library.scheduled(known, len(split.train)) for known in students]
        asked = [library.can_ask(card) for _, card in found]
        if not any(asked):
            raise UsageError("Nobody can say anything of the library: name a graph teacher by --teacher-folder.")
        with phase(progress, "scoring the library", "molecules") as running:
            speakers = [folder for folder, can in zip(folders, asked, strict=True) if can]
            told = iter(library.score(speakers, session.ray, running.update))
        scores = [next(told) if can else None for can in asked]
        source = library.source([outputs for outputs, _ in found], scores, weights, split, session.model_inputs)
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
            library=source,
            seeds=seeds,
            show=fits_of(running),
        )


def check_named(rules: Path | None) -> None:
    """Check that rules are named where they are read.

    Raises:
        UsageError: they are not.
    """
    if rules is None:
        raise UsageError("What reads rules needs their file: name it by --rules ('gallon rules' writes it).")


def fits_of(running: Phase) -> Callable[[FitProgress], None]:
    """Return what tells a phase how many fits are done, and how far the training of all of them is.

    Of several batches in a row the fits are all there have been so far; the training is that of the latest batch.
    """
    tally = FitTally()

    def update(batch: FitProgress) -> None:
        fits = tally.add(batch)
        trained = f"{fits.share:.0%} trained" if fits.share is not None else ""
        running.update(fits.done, fits.all, trained, seconds_left=fits.seconds_left)

    return update


def molecules_of(running: Phase) -> Callable[[FitProgress], None]:
    """Return what tells a phase of the molecules that training has looked at, each once an epoch."""
    return lambda fits: running.update(fits.looked_at, fits.to_look_at, rate=fits.rate, seconds_left=fits.seconds_left)


def _selected(
    library: PreparedLibrary, teaching: TeachingConfig, session: TrainingSession, seed: int
) -> LibraryTeaching:
    selection = library.select(session.model_inputs.dataset.keys, teaching.library_molecules, seed)
    logger.info(
        "The student learns from %s of the library; %s of it stand in the labelled data and take no part.",
        counted(len(selection), "molecule"),
        counted(selection.excluded, "molecule"),
    )
    return LibraryTeaching(
        library=library,
        selection=selection,
        epochs=teaching.library_epochs,
        batch_size=teaching.library_batch,
        labelled_share=teaching.labelled_share,
    )


def _weights(objective: ObjectiveConfig, kind: Kind, *, has_transfer_set: bool) -> distillation.Weights:
    """Return the weights that are given, and for the others the defaults of the objective."""
    default = distillation.WITH_TRANSFER_SET if has_transfer_set else distillation.Weights()
    if objective.objective == "gallon":
        default = distillation.GALLON[kind]
    return replace(
        default,
        soft_gnn=_given(objective.soft_gnn, default.soft_gnn),
        soft_lm=_given(objective.soft_lm, default.soft_lm),
        hidden_gnn=_given(objective.hidden_gnn, default.hidden_gnn),
        hidden_lm=_given(objective.hidden_lm, default.hidden_lm),
        temperature=objective.soft_temperature,
    )


def _given(weight: float | None, default: float) -> float:
    return default if weight is None else weight


def _is_preset(name: str | None) -> bool:
    """Say whether GALLON's settings are asked for.

    Raises:
        UsageError: other ones are.
    """
    if name not in (None, "gallon"):
        raise UsageError(f"There is no preset '{name}': the one there is, is called gallon.")
    return name is not None


def _check_student(name: str, inputs: Sequence[str]) -> None:
    if name != PERCEPTRON and name not in ARCHITECTURES:
        raise UsageError(f"There is no student '{name}': choose one of {', '.join([PERCEPTRON, *ARCHITECTURES])}.")
    if name != PERCEPTRON and inputs:
        raise UsageError(f"A {name} reads molecular graphs: leave out --student-input, which is an MLP's.")


def check_objective(name: str | None) -> None:
    """Refuse an objective that there is not.

    Raises:
        UsageError: there is none of this name.
    """
    if name is not None and name not in distillation.OBJECTIVES:
        raise UsageError(f"There is no objective '{name}': choose one of {', '.join(distillation.OBJECTIVES)}.")
