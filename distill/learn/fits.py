"""From a recipe, a split and what is to be learnt to a fit that `cluster.training.driver` can do."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.training.fit import Fit, FitSet
from distill.data.splits import Split
from distill.features.features_id import features_id
from distill.learn.inputs import ModelInputs
from distill.learn.metrics import main_metric, score
from distill.learn.network import settings_for
from distill.learn.objective import TERMS, NetworkWithLoss, NetworkWithStructure, Objective, Scale
from distill.learn.recipes import Recipe
from distill.learn.start import begun
from teacher.errors import UsageError
from teacher.provenance import digest
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from cluster.training.stream import Stream
    from distill.data.cells import Kind
    from distill.data.dataset import Dataset
    from teacher.nn.inputs import Inputs

LEAST_MOLECULES = 2  # that a network can be trained on: BatchNorm needs them
FORMAT = 5  # of what a fit is; raise it when the same recipe comes to train otherwise


@dataclass(frozen=True, kw_only=True)
class DistillationTargets:
    """What a student learns beside the labels.

    Attributes:
        soft: of each teacher its predictions, (molecules, targets), and their weight.
        hidden: of each teacher its whitened representations, (molecules, directions), and their weight.
        same, mapped: of each teacher its representations as they are, (molecules, width), and their weight: those that
            the student's are to equal, and those that they are to equal after a learned linear map.
        graph, communities, walks: of each teacher its representations as they are and what it says of parts of
            molecules (`teacher.nn.mugsi`), (molecules, numbers), and their weight; only students of atoms learn them.
        temperature: of the soft labels.
    """

    soft: Mapping[str, tuple[NDArray[np.float32], float]] = field(default_factory=lambda: MappingProxyType({}))
    hidden: Mapping[str, tuple[NDArray[np.float32], float]] = field(default_factory=lambda: MappingProxyType({}))
    same: Mapping[str, tuple[NDArray[np.float32], float]] = field(default_factory=lambda: MappingProxyType({}))
    mapped: Mapping[str, tuple[NDArray[np.float32], float]] = field(default_factory=lambda: MappingProxyType({}))
    graph: Mapping[str, tuple[NDArray[np.float32], float]] = field(default_factory=lambda: MappingProxyType({}))
    communities: Mapping[str, tuple[NDArray[np.float32], float]] = field(default_factory=lambda: MappingProxyType({}))
    walks: Mapping[str, tuple[NDArray[np.float32], float]] = field(default_factory=lambda: MappingProxyType({}))
    temperature: float = 1.0

    @property
    def by_term(self) -> dict[str, Mapping[str, tuple[NDArray[np.float32], float]]]:
        """What is learned of each teacher, by the term of the objective that learns it."""
        return {term: getattr(self, term) for term in TERMS}


NOTHING = DistillationTargets()


class Batch:
    """Fits that are done in one go, and what they read and learn from."""

    def __init__(self, model_inputs: ModelInputs) -> None:
        self._model_inputs = model_inputs
        self._fits: list[Fit] = []
        self._inputs: dict[str, Inputs] = {}
        self._columns: dict[str, NDArray[np.float32]] = {"labels": model_inputs.dataset.labels}

    @property
    def fit_set(self) -> FitSet:
        """What `cluster.training.driver.fit_all` takes; outcomes come in the order of `add`."""
        return FitSet(fits=self._fits, inputs=self._inputs, columns=self._columns)

    def add(
        self,
        recipe: Recipe,
        split: Split,
        seed: int,
        *,
        train: NDArray[np.int64] | None = None,
        targets: DistillationTargets = NOTHING,
        name: str | None = None,
        stream: Stream | None = None,
        labelled_share: float = 0.0,
    ) -> None:
        """Add a fit.

        Args:
            recipe: what to train.
            split: its validation part chooses the epoch.
            seed: of the fit.
            train: rows to learn from, if not the training part of the split.
            targets: by which teachers, if any.
            name: to be shown.
            stream: molecules that are learned of beside these.
            labelled_share: of a step's molecules, those of the training part, beside a stream.

        Raises:
            UsageError: fewer than two labelled molecules are left to learn from.
        """
        dataset = self._model_inputs.dataset
        objective = _objective(recipe, targets)
        inputs, readable = self._read(recipe, split, structured=objective.has_structure)
        rows = split.train if train is None else train
        rows, valid = rows[readable[rows]], split.valid[readable[split.valid]]
        _check(name or recipe.name, rows, dataset, annotated=bool(readable.all()))
        columns = {"labels": dataset.labels, **columns_of(targets)}
        named = {target: self._column(target, column) for target, column in columns.items()}
        scale = Scale.of(dataset.labels[rows], dataset.targets)
        scale = scale.in_labels_units() if recipe.raw_labels else scale
        settings = settings_for(recipe, self._inputs[inputs], self._model_inputs.encoder)
        network = _network(recipe, len(dataset.targets), settings)
        heard = {**targets.hidden, **targets.mapped, **targets.graph}
        widths = {teacher: column.shape[1] for teacher, (column, _) in heard.items()}
        widths["student"] = recipe.settings.get("width", 0)
        _check_same(recipe, targets)
        facts = {
            "format": FORMAT,
            "features": features_id(),
            "dataset": dataset.sha256,
            "recipe": [recipe.name, dict(recipe.settings), asdict(recipe.schedule)],
            "objective": [dict(objective.soft), dict(objective.hidden), objective.temperature],
            "label_smoothing": [recipe.label_smoothing, recipe.balance],
            "inputs": inputs,
            "columns": named,
            "train": content_digest(rows),
            "valid": content_digest(valid),
            "seed": seed,
            **_rare_facts(recipe, objective),
            **({"stream": [stream.digest, labelled_share]} if stream else {}),
        }
        self._fits.append(
            Fit(
                id=digest(facts),
                name=name or recipe.name,
                build=functools.partial(_learner(objective), network, scale, objective, widths),
                inputs=inputs,
                targets=named,
                train=rows,
                valid=valid,
                score=functools.partial(_score, dataset.kind),
                schedule=recipe.schedule,
                seed=seed,
                stream=stream,
                labelled_share=labelled_share,
                shareable=recipe.is_shareable,
            )
        )

    def _read(self, recipe: Recipe, split: Split, *, structured: bool) -> tuple[str, NDArray[np.bool_]]:
        """Keep what the recipe reads; return its name, and which molecules can be read."""
        inputs: Inputs
        if structured:
            name, inputs = "graphs and parts", self._model_inputs.structured_graphs
        else:
            name, inputs = self._model_inputs.inputs(recipe, split)
        self._inputs[name] = inputs
        return name, self._model_inputs.readable_by(recipe)

    def _column(self, target: str, column: NDArray[np.float32]) -> str:
        name = "labels" if target == "labels" else f"{target}.{content_digest(column)}"
        self._columns[name] = column
        return name


def content_digest(array: NDArray[Any]) -> str:
    """Return a short digest of an array's content."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _network(recipe: Recipe, targets: int, settings: Mapping[str, Any]) -> Callable[[], nn.Module]:
    """Return what builds the network of a recipe, which may begin with a pre-trained one."""
    if recipe.start:
        return functools.partial(begun, recipe.start.weights, recipe.build, targets, **settings)
    return functools.partial(recipe.build, targets, **settings)


def _learner(objective: Objective) -> type[NetworkWithLoss]:
    return NetworkWithStructure if objective.has_structure else NetworkWithLoss


def _objective(recipe: Recipe, targets: DistillationTargets) -> Objective:
    weights = {
        term: {teacher: weight for teacher, (_, weight) in heard.items()} for term, heard in targets.by_term.items()
    }
    return Objective(
        **weights, temperature=targets.temperature, label_smoothing=recipe.label_smoothing, balance=recipe.balance
    )


def _check_same(recipe: Recipe, targets: DistillationTargets) -> None:
    """Refuse representations that a student's cannot equal."""
    width = recipe.settings.get("width", 0)
    for column, _ in targets.same.values():
        if column.shape[1] != width:
            raise UsageError(
                f"GALLON's objective compares the graph teacher's representation, {column.shape[1]} numbers, with that "
                f"of {recipe.name}, {width}, one by one: distill gallon-gcn into the student gallon "
                "('gallon teach' and 'gallon distill' with --preset gallon), or use --objective whitened."
            )


def _rare_facts(recipe: Recipe, objective: Objective) -> dict[str, Any]:
    """Return what decides few fits; others have the ids that they had before there was such a thing."""
    raw: dict[str, Any] = {"raw labels": True} if recipe.raw_labels else {}
    raw |= {"start": recipe.start.digest} if recipe.start else {}
    as_they_are = {"as they are": [dict(objective.same), dict(objective.mapped)]}
    parts = {"parts": [dict(objective.graph), dict(objective.communities), dict(objective.walks)]}
    raw |= parts if objective.has_structure else {}
    return {**raw, **(as_they_are if objective.same or objective.mapped else {})}


def columns_of(targets: DistillationTargets) -> dict[str, NDArray[np.float32]]:
    """Return the columns that a student learns beside the labels, by the names of its targets."""
    return {
        f"{term}.{teacher}": column for term, heard in targets.by_term.items() for teacher, (column, _) in heard.items()
    }


def _score(kind: Kind, truth: NDArray[Any], prediction: NDArray[Any]) -> float:
    """Return the main metric such that greater is better; where it says nothing, the likelihood decides.

    A validation part with one class only has no ROC-AUC; the mean log-likelihood still tells epochs apart. Of a single
    label nothing does: many an epoch is right about one molecule by chance.

    Returns:
        The score; NaN where no target has two labels.
    """
    value = score(kind, truth, prediction)[main_metric(kind)]
    if kind == "regression":
        return -value
    known = ~np.isnan(truth)
    if not np.isnan(value) or known.sum(axis=0).max(initial=0) < 2:
        return value
    signs = np.where(truth == 1, 1.0, -1.0)
    return float(-np.logaddexp(0, -signs * prediction)[known].mean())


def check_readable(recipe: Recipe, model_inputs: ModelInputs, split: Split) -> None:
    """Refuse a recipe that reads what is not there, before anything is computed for it.

    Raises:
        UsageError: there are no annotations or guesses, or fewer than two labelled molecules that have one.
    """
    if recipe.role != "lm":
        return
    model_inputs.check_texts(recipe, split)
    readable = model_inputs.readable_by(recipe)
    _check(recipe.name, split.train[readable[split.train]], model_inputs.dataset, annotated=bool(readable.all()))


def _check(name: str, rows: NDArray[np.int64], dataset: Dataset, *, annotated: bool) -> None:
    """Refuse rows with too few labels to learn from; `annotated` tells whether all molecules can be read."""
    labelled = int((~np.isnan(dataset.labels[rows])).any(axis=1).sum())
    if labelled < LEAST_MOLECULES:
        raise UsageError(
            f"The {name} has {counted(labelled, 'labelled molecule')} to learn from, and needs {LEAST_MOLECULES}: "
            f"add labelled molecules{'' if annotated else ' or annotations'}, or use fewer folds (--folds 0 "
            "divides nothing)."
        )
