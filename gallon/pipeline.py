"""From a table with labels to a student and a page about it: annotate, teach, distill and compare, in one call."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.annotation.annotate import refuse_other_threads
from cluster.store.open import choose_spec, open_store
from cluster.store.store import Store
from distill.data.dataset import Dataset
from distill.data.moleculenet import SETS
from distill.data.splits import Split
from distill.learn.teach import Trained
from distill.models.model_store import check_place, refuse_other_data
from distill.report.comparison import check_place as check_page
from gallon.api.annotation import AnnotationResult, annotate, started_ray
from gallon.api.data import (
    budget_of,
    check_on_demand,
    read_dataset,
    recipes_of,
    refuse_text_options,
    results_folder,
    rules_of,
    splits_of,
    without_texts,
)
from gallon.api.evaluation import Comparison, evaluate
from gallon.api.learning import FOLDS, GRAPH_TEACHER, LANGUAGE_TEACHER, distill, teach
from gallon.api.library import StrPath, store_named
from gallon.api.spec import resolve_spec
from gallon.config import (
    DataConfig,
    EngineConfig,
    KeepConfig,
    LibraryConfig,
    ObjectiveConfig,
    SpecConfig,
    TeachingConfig,
    TrainConfig,
    TransferConfig,
)
from gallon.progress import ProgressCallback
from gallon.texts import check_encoder, guesses_of, rankings_of
from teacher.errors import UsageError
from teacher.llm.models import TINY

BASELINE = "gradient_boosting"


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """What came of learning a property.

    Attributes:
        annotation: the run that described the molecules; None where texts that were there were read, or none.
        teachers: the models that the student learned from.
        student: the model that scores libraries.
        comparison: of the student with its teachers and a baseline, on the same split; its page.
    """

    annotation: AnnotationResult | None
    teachers: tuple[Trained, ...]
    student: Trained
    comparison: Comparison


def learn(
    data: StrPath,
    *,
    labels: DataConfig,
    training: TrainConfig,
    model: str = TINY,
    texts: bool = True,
    spec_id: str | None = None,
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> Learned:
    """Learn a property of molecules: `annotate`, `teach`, `distill` and `evaluate` with their defaults, in one call.

    Teachers, student and the page of the comparison go into one folder. Each step keeps what it has done, so the same
    call goes on where it was stopped. To be called in the main thread.

    Args:
        data: a table with labels; with texts that are there, or without any, also a name of MoleculeNet.
        labels: the columns, and the split.
        training: how networks are trained, and where results go.
        model: that describes the molecules: "tiny", a Hugging Face id, or the folder of a checkpoint.
        texts: whether a language teacher reads descriptions; without, a graph teacher alone teaches.
        spec_id: the spec of annotations that are there, or the beginning of its id: then nothing is annotated.
        store: for the annotations; a Redis URL, or the folder of an embedded Redis.
        progress: called as work goes on.

    Raises:
        UsageError: data or settings are wrong.
        LibraryError: the table cannot be read.
        TrainingError: a fit failed.
    """
    annotation = None
    annotating = texts and spec_id is None and training.service is None  # which describes what the teachers ask for
    if not texts:
        refuse_text_options(training, spec_id)
    dataset, split = _checked(data, labels, training, model=model if annotating else None, texts=texts)
    folder = _checked_folder(data, training, dataset)
    with ExitStack() as kept_open:
        if texts:
            _check_specs(kept_open.enter_context(open_store(store_named(store))), spec_id, training)
            _check_answers(store_named(store), training, dataset, split)
        kept_open.enter_context(started_ray(training.ray, progress))
        if annotating:
            annotation = _annotated(data, labels, model=model, ray=training.ray, store=store, progress=progress)
            spec_id = annotation.spec
        training = replace(training, out=folder)
        names = [GRAPH_TEACHER, *([LANGUAGE_TEACHER] if texts else [])]
        teachers = teach(
            data,
            labels=labels,
            training=training,
            teacher=names,
            folds=FOLDS,
            spec_id=spec_id,
            store=store,
            progress=progress,
        )
        student = distill(
            data,
            labels=labels,
            training=without_texts(training),  # the teachers have read them
            objective=ObjectiveConfig(),
            transfer=TransferConfig(),
            teaching=TeachingConfig(),
            teacher_folder=[model.path for model in teachers],
            progress=progress,
        )
        comparison = evaluate(
            data,
            labels=labels,
            training=training,
            transfer=TransferConfig(),
            methods=[BASELINE, *names, "student", "student+both" if texts else "student+gnn"],
            seeds=1,
            folds=FOLDS,
            spec_id=spec_id,
            store=store,
            progress=progress,
        )
    return Learned(annotation=annotation, teachers=tuple(teachers), student=student, comparison=comparison)


def _checked(
    data: StrPath, labels: DataConfig, training: TrainConfig, *, model: str | None, texts: bool
) -> tuple[Dataset, Split]:
    """Return the data and its split; a mistake is found before molecules are annotated, which may take hours.

    Raises:
        UsageError: data or settings are wrong, or molecules are to be annotated and this is not the main thread.
    """
    if model:
        refuse_other_threads()
    if model and str(data).lower() in SETS:
        raise UsageError(
            f"The MoleculeNet set '{data}' is no table to annotate: annotate its file with 'gallon annotate' and name "
            "the spec, or learn without texts (--no-texts)."
        )
    budget_of(training, labels.seed, has_transfer_set=False)
    rules_of(training)
    dataset = read_dataset(data, labels)
    if model:
        resolve_spec(SpecConfig(model=model))
    (split,) = splits_of(dataset, labels, seeds=1)
    recipes_of(dataset, split, None, training)
    check_on_demand(training, [split])
    if texts:
        check_encoder(training.encoder)
    return dataset, split


def _checked_folder(data: StrPath, training: TrainConfig, dataset: Dataset) -> Path:
    """Return the folder of the results, which can be written there.

    Raises:
        UsageError: it holds something else.
    """
    folder = results_folder(data, training)
    check_page(folder, inputs=[str(data)])
    for name in (GRAPH_TEACHER, LANGUAGE_TEACHER, "student"):
        check_place(folder / name)
    if not training.overwrite:
        refuse_other_data(folder, dataset)
    return folder


def _check_specs(opened: Store, spec_id: str | None, training: TrainConfig) -> None:
    """Refuse a spec of texts that is not in the store.

    Raises:
        UsageError: there is none of a name, or several.
    """
    for name in [*([spec_id] if spec_id else []), *(training.also_spec or ())]:
        choose_spec(opened, name)


def _check_answers(store: str, training: TrainConfig, dataset: Dataset, split: Split) -> None:
    """Refuse predictions and orders of neighbours that the training could not read.

    Raises:
        UsageError: they are not there, or were made otherwise than for this split.
    """
    if training.predictions:
        guesses_of(store, training.predictions, dataset, [split])
    if training.ranking:
        rankings_of(store, training.ranking, dataset, [split])


def _annotated(
    data: StrPath,
    labels: DataConfig,
    *,
    model: str,
    ray: str | None,
    store: StrPath | None,
    progress: ProgressCallback | None,
) -> AnnotationResult:
    """Describe the molecules of a table.

    Raises:
        KeyboardInterrupt: it was interrupted; what was done is kept.
    """
    result = annotate(
        data,
        reading=LibraryConfig(smiles_column=labels.smiles_column, separator=labels.separator, encoding=labels.encoding),
        spec=SpecConfig(model=model),
        engine=EngineConfig(ray=ray),
        keeping=KeepConfig(),
        store=store,
        progress=progress,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    return result
