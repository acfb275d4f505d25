"""`gallon distill`: a student of what teachers have said."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from cluster.training.driver import FitProgress, TrainResources, fit_all
from distill.data.cells import Kind
from distill.data.guesses import fences
from distill.data.splits import Split
from distill.learn.fits import NOTHING, Batch, DistillationTargets
from distill.learn.inputs import ModelInputs
from distill.learn.objective import whiten
from distill.learn.recipes import Recipe, recipe
from distill.learn.saving import save
from distill.learn.teach import Trained, judged
from distill.learn.teacher_outputs import TeacherOutputs
from distill.models import model_store
from distill.models.ensemble import consensus, logits
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cluster.training.fit import Outcome
    from cluster.training.stream import Stream
    from distill.models.card import ModelCard

ObjectiveName = Literal["whitened", "gallon"]
OBJECTIVES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much a student listens, beside the labels, whose weight is 1.

    Attributes:
        soft_gnn, soft_lm: α₁ and β₁, of the teachers' predictions.
        hidden_gnn, hidden_lm: α₂ and β₂, of their representations.
        temperature: of the predictions of classes.
        objective: "whitened": representations are compared as `hidden` terms; "gallon": as GALLON released it, those of
            graph teachers as `same`, those of language teachers as `mapped` terms (`distill.learn.objective`).
    """

    soft_gnn: float = 0.5
    soft_lm: float = 0.5
    hidden_gnn: float = 0.1
    hidden_lm: float = 0.1
    temperature: float = 1.0
    objective: ObjectiveName = "whitened"


@dataclass(frozen=True, kw_only=True)
class LibrarySource:
    """A library whose molecules a student learns of, as they pass by.

    Attributes:
        stream: makes the stream of a student from its recipe.
        labelled_share: of a step's molecules, labelled ones.
        facts: what a card says of it.
    """

    stream: Callable[[Recipe], Stream]
    labelled_share: float
    facts: Mapping[str, Any]


# With a transfer set there is more to hear than to be told. Out of 0.5, 1 and 2 for `soft_gnn`, ESOL's validation parts
# prefer 1 and 2 alike: RMSE 0.824, 0.811, 0.812 on the scaffold split, 0.751, 0.746, 0.744 over random-scaffold splits.
WITH_TRANSFER_SET = Weights(soft_gnn=1.0)

# What GALLON released: labels are distilled for classes, representations for numbers (code of arXiv 2406.01032).
GALLON: Mapping[Kind, Weights] = MappingProxyType(
    {
        "classification": Weights(soft_gnn=0.1, soft_lm=0.1, hidden_gnn=0.0, hidden_lm=0.0, objective="gallon"),
        "regression": Weights(soft_gnn=0.0, soft_lm=0.0, hidden_gnn=0.1, hidden_lm=0.1, objective="gallon"),
    }
)

# GLNN (arXiv 2110.08727, eq. 1) weighs labels by λ and the teacher's predictions by 1 - λ; here both alike.
GLNN = Weights(soft_gnn=1.0, soft_lm=0.0, hidden_gnn=0.0, hidden_lm=0.0)


# MuGSI (arXiv 2406.19832), as in its authors' command for MolHIV.
MUGSI: Mapping[str, float] = MappingProxyType({"soft": 1.0, "graph": 0.01, "communities": 0.01, "walks": 1e-4})

PSEUDO_WEIGHTS = (0.0, 0.1, 0.3, 1.0)  # of a predicted label, where a measured one counts 1


def targets_from(
    teacher_outputs: Sequence[TeacherOutputs], weights: Weights, split: Split, kind: Kind
) -> DistillationTargets:
    """Weigh what teachers say.

    Several teachers of a role predict together, as `consensus`; the representations of each are a term of its own, and
    share the weight.
    """
    soft: dict[str, tuple[NDArray[np.float32], float]] = {}
    hidden: dict[str, tuple[NDArray[np.float32], float]] = {}
    same: dict[str, tuple[NDArray[np.float32], float]] = {}
    mapped: dict[str, tuple[NDArray[np.float32], float]] = {}
    for role, of_soft, of_hidden in (
        ("gnn", weights.soft_gnn, weights.hidden_gnn),
        ("lm", weights.soft_lm, weights.hidden_lm),
    ):
        fitting = [outputs for outputs in teacher_outputs if recipe(outputs.teacher).role == role]
        if fitting and of_soft:
            soft[role] = consensus([outputs.prediction for outputs in fitting], kind), of_soft
        if of_hidden:
            for number, outputs in enumerate(fitting):
                if weights.objective == "gallon":
                    as_they_are = same if role == "gnn" else mapped
                    as_they_are[f"{role}{number}"] = outputs.representation, of_hidden / len(fitting)
                    continue
                white = whiten(outputs.representation, split.train)
                if white.shape[1]:
                    hidden[f"{role}{number}"] = white, of_hidden / len(fitting)
    return DistillationTargets(soft=soft, hidden=hidden, same=same, mapped=mapped, temperature=weights.temperature)


def mugsi_targets(outputs: TeacherOutputs, terms: Collection[str]) -> DistillationTargets:
    """Weigh some of MuGSI's terms of one graph teacher, by its authors' weights.

    Args:
        outputs: what it says, of the parts of molecules too (`distill.learn.teacher_outputs.with_parts`).
        terms: names in `MUGSI`.
    """

    def weighed(term: str, column: NDArray[np.float32] | None) -> dict[str, tuple[NDArray[np.float32], float]]:
        return {"gnn": (column, MUGSI[term])} if column is not None and term in terms else {}

    return DistillationTargets(
        soft=weighed("soft", outputs.prediction),
        graph=weighed("graph", outputs.representation),
        communities=weighed("communities", outputs.communities),
        walks=weighed("walks", outputs.walks),
    )


def distill_student(
    model_inputs: ModelInputs,
    split: Split,
    teacher_outputs: Sequence[TeacherOutputs],
    *,
    students: Sequence[Recipe],
    weights: Weights,
    seed: int,
    folder: Path,
    resources: TrainResources,
    teachers: Sequence[ModelCard],
    library: LibrarySource | None = None,
    seeds: int = 1,
    show: Callable[[FitProgress], None] | None = None,
) -> Trained:
    """Train students, and write the one that validates best to `folder/student`.

    A student may be several networks, an ensemble that predicts as their mean: those of further seeds are trained once
    its input is chosen.

    Args:
        model_inputs: the dataset, with its transfer set, if there is one.
        split: its parts.
        teacher_outputs: what the teachers say of both.
        students: recipes, one for each input that is tried.
        weights: how much the student listens to whom.
        seed: of the training; of an ensemble that of the first network, from which the others count on.
        folder: results and fits lie there.
        resources: the workers.
        teachers: the teachers' cards.
        library: whose molecules are streamed beside the labelled ones.
        seeds: networks of the student.
        show: called with the progress.

    Raises:
        UsageError: the student's folder holds something else.
        TrainingError: the workers kept dying; the same call goes on.
    """
    place = folder / "student"
    model_store.check_place(place)
    targets = targets_from(teacher_outputs, weights, split, model_inputs.dataset.kind)

    def fitted(candidates: Sequence[tuple[Recipe, int]]) -> list[Outcome]:
        batch = Batch(model_inputs.transfer or model_inputs)
        rows = learned_from(model_inputs, split)
        for known, of_seed in candidates:
            stream, share = (library.stream(known), library.labelled_share) if library else (None, 0.0)
            batch.add(known, split, of_seed, train=rows, targets=targets, stream=stream, labelled_share=share)
        return fit_all(batch.fit_set, folder / "fits", resources, show)

    chosen, outcome = best(students, fitted([(candidate, seed) for candidate in students]))
    further = fitted([(chosen, seed + number) for number in range(1, seeds)]) if seeds > 1 else []
    outcomes = [outcome, *further]
    prediction = consensus([each.prediction for each in outcomes], model_inputs.dataset.kind)
    metrics = judged(model_inputs, split, prediction)
    spec = next((card.spec for card in teachers if card.spec), None)
    facts = library.facts if library else model_inputs.describe_transfer()
    save(
        place,
        chosen,
        model_inputs,
        split,
        outcome,
        seed=seed,
        further=further,
        metrics=metrics,
        spec=spec,
        teachers=teachers,
        objective=asdict(weights),
        transfer=facts,
    )
    return Trained(
        name=chosen.name if seeds == 1 else f"{chosen.name}, mean of {counted(seeds, 'seed')}",
        path=place,
        metrics=metrics,
        best_epoch=outcome.best_epoch,
        seconds=sum(each.seconds for each in outcomes),
    )


def learned_from(model_inputs: ModelInputs, split: Split) -> NDArray[np.int64]:
    """Return the rows that a student learns from: the training part, and the transfer set behind the dataset."""
    return np.concatenate([split.train, model_inputs.transferred()])


def best(candidates: Sequence[Recipe], outcomes: Sequence[Outcome]) -> tuple[Recipe, Outcome]:
    """Return the recipe whose outcome validates best."""
    return max(zip(candidates, outcomes, strict=True), key=lambda pair: pair[1].score)


def learn_pseudo_labels(
    model_inputs: ModelInputs,
    cases: Sequence[tuple[Recipe, Split, int]],
    folder: Path,
    *,
    resources: TrainResources,
    show: Callable[[FitProgress], None] | None = None,
) -> list[tuple[float, Outcome, list[Outcome]]]:
    """Train students on labels and on an LLM's predictions of the transfer set, at each weight.

    It is the role of an annotator in a survey of LLMs for graphs (arXiv 2404.14928): predictions ease the need for
    labels. How far they are to be trusted is not the LLM's to say: the weight is the one that validates best, 0 among
    them, so that predictions that mislead are left out.

    Args:
        model_inputs: the dataset, with its transfer set, of which the LLM was asked (`--predictions`).
        cases: of each the student, the split and the seed.
        folder: where fits lie.
        resources: the workers.
        show: called with the progress.

    Returns:
        Of each case the weight that validates best, its fit, and all fits.

    Raises:
        UsageError: there is no transfer set, or the LLM predicts nothing of it.
        TrainingError: the workers kept dying.
    """
    wider = model_inputs.transfer
    if wider is None:
        raise UsageError("Pseudo-labels are of molecules without labels: name a library of them by --transfer.")
    predicted = pseudo_labels(wider, len(model_inputs.dataset))
    known = np.flatnonzero(np.isfinite(predicted[:, 0]))
    if not len(known):
        raise UsageError(
            "The LLM predicts nothing of the transfer set: run 'gallon annotate' on it with the few-shot prompt."
        )
    batch = Batch(wider)
    for student, split, seed in cases:
        for weight in PSEUDO_WEIGHTS:
            targets = DistillationTargets(soft={"llm": (predicted, weight)}) if weight else NOTHING
            rows = np.concatenate([split.train, known]) if weight else split.train
            batch.add(student, split, seed, train=rows, targets=targets)
    outcomes = fit_all(batch.fit_set, folder, resources, show)
    found = []
    for first in range(0, len(outcomes), len(PSEUDO_WEIGHTS)):
        tried = outcomes[first : first + len(PSEUDO_WEIGHTS)]
        chosen = int(np.argmax([outcome.score for outcome in tried]))
        found.append((PSEUDO_WEIGHTS[chosen], tried[chosen], list(tried)))
    return found


def pseudo_labels(wider: ModelInputs, labelled: int) -> NDArray[np.float32]:
    """Return what the LLM predicts of a transfer set: (molecules, 1), logits of classes, or values; else NaN.

    A number far outside of the others (`distill.data.guesses.fences`) is no label.

    Args:
        wider: the dataset with its transfer set behind it.
        labelled: molecules of the dataset, of which nothing predicted is learnt: not even of the training part.
    """
    values = wider.guessed.values.astype(np.float64)
    values[:labelled] = np.nan
    if wider.dataset.kind == "classification":
        return logits(values).astype(np.float32)[:, None]
    low, high = fences(values)
    return np.where((values >= low) & (values <= high), values, np.nan).astype(np.float32)[:, None]
