"""What a baseline is: molecules to inputs, defaults, what a search may choose, and how it learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from distill.data.cells import Kind
from distill.features.pretrained.encoders import PretrainedKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from optuna import Trial
    from rdkit.Chem import Mol

Settings = Mapping[str, Any]


class Predictor(Protocol):
    """A fitted baseline."""

    def predict(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return float32 of shape (N, T): probabilities of class 1, or numbers in the unit of the labels."""
        ...


class Fit(Protocol):
    """How a baseline learns."""

    def __call__(self, train: Examples, valid: Examples, *, kind: Kind, settings: Settings, seed: int) -> Predictor:
        """Learn from `train`, with all the settings that the baseline knows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Inputs with labels.

    Attributes:
        inputs: what `Baseline.represent` made of N molecules; the first axis is the molecules.
        labels: float32 of shape (N, T), NaN where missing; (N,) where they are of one target and none is.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A kind of model.

    Attributes:
        title: what a table calls it.
        represent: molecules to inputs, whose first axis is the molecules.
        defaults: the settings that it has unless a search finds others.
        space: what a search may choose: the settings of an Optuna trial. Those it leaves out stay as in `defaults`.
        fitting: learns.
        packages: of Python that learn it, by whose versions its predictions are known.
        pretrained: the network that others have trained, if it is one, or `represent` returns the vectors of one.
    """

    title: str
    represent: Callable[[Sequence[Mol]], NDArray[Any]]
    defaults: Settings
    space: Callable[[Trial], dict[str, Any]]
    fitting: Fit
    packages: Sequence[str] = ()
    pretrained: PretrainedKind | None = None

    def fit(
        self, train: Examples, valid: Examples, *, kind: Kind, settings: Settings | None = None, seed: int = 0
    ) -> Predictor:
        """Learn one kind of targets.

        Args:
            train: what is learned from; each target needs labels in it.
            valid: what may choose when to stop; random forests do not look at it.
            kind: what all targets are.
            settings: what differs from `defaults`.
            seed: of everything random.

        Raises:
            UsageError: the package behind the baseline is not installed.
        """
        return self.fitting(train, valid, kind=kind, settings={**self.defaults, **(settings or {})}, seed=seed)
