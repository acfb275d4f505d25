"""A baseline of models that know one target each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.cells import Kind
from distill.evaluate.baselines.baseline import Examples
from distill.evaluate.baselines.interruptible import interruptible

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class OnePerTarget:
    """Models of scikit-learn's manner, one for each target, each learned from the rows that have its label.

    Attributes:
        models: of the targets, in their order.
        kind: what all targets are.
    """

    models: tuple[Any, ...]
    kind: Kind

    @classmethod
    def fit(
        cls, learn: Callable[[Examples, Examples, Event], Any], train: Examples, valid: Examples, kind: Kind
    ) -> OnePerTarget:
        """Have each target learned, from what has its label and what is held out of that; one class needs no model."""
        from sklearn.dummy import DummyClassifier

        models: list[Any] = []
        for column in range(train.labels.shape[1]):
            examples = _with_label(train, column)
            classes = np.unique(examples.labels) if kind == "classification" else None
            if classes is not None and len(classes) == 1:  # which libraries refuse, or answer in other shapes
                models.append(DummyClassifier().fit(examples.inputs, examples.labels))
            else:
                held_out = _with_label(valid, column)
                models.append(interruptible(functools.partial(learn, examples, held_out)))
        return cls(tuple(models), kind)

    def predict(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return float32 of shape (N, targets): probabilities of class 1, or numbers."""
        said = [interruptible(functools.partial(self._predict_one, model, inputs)) for model in self.models]
        return np.stack(said, axis=1).astype(np.float32)

    def _predict_one(self, model: Any, inputs: NDArray[Any], _: Event) -> NDArray[Any]:
        if self.kind == "regression":
            numbers: NDArray[Any] = model.predict(inputs)
            return numbers
        # A model of one class has one column only, which may be that of class 0.
        of_class_1: NDArray[Any] = model.predict_proba(inputs)[:, np.asarray(model.classes_) == 1].sum(axis=1)
        return of_class_1


def _with_label(examples: Examples, column: int) -> Examples:
    """Return the examples that have a label of one target, labels as (N,)."""
    known = ~np.isnan(examples.labels[:, column])
    return Examples(examples.inputs[known], examples.labels[known, column])
