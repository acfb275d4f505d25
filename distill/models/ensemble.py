"""Several networks that predict together: their mean, and how far they are apart, with numpy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.cells import Kind

LEAST_PROBABILITY = 1e-6  # a logit of 14

Array = TypeVar("Array")


def consensus(predictions: Sequence[NDArray[np.float32]], kind: Kind) -> NDArray[np.float32]:
    """Return the mean of what networks predict, for each molecule over those that predict it.

    Of classes it is the mean of the probabilities: a mean of logits would let one network that is sure outvote all
    that are not.

    Args:
        predictions: of each network, (molecules, targets): logits of classes, or values; NaN where it says nothing.
        kind: of the targets.

    Returns:
        The same of all of them together, float32; NaN where nobody says anything.
    """
    if len(predictions) == 1:
        return predictions[0]
    said = np.stack(predictions).astype(np.float64)
    spoke = ~np.isnan(said)
    values = np.where(spoke, probabilities(said) if kind == "classification" else said, 0.0)
    mean = np.full(said.shape[1:], np.nan)
    np.divide(values.sum(axis=0), spoke.sum(axis=0), out=mean, where=spoke.any(axis=0))
    return (logits(mean) if kind == "classification" else mean).astype(np.float32)


def spread(predictions: Sequence[NDArray[np.float32]], kind: Kind) -> NDArray[np.float32]:
    """Return how far networks are apart: the standard deviation of what they predict (of classes, of probabilities).

    Args:
        predictions: of each network, (molecules, targets), as for `consensus`.
        kind: of the targets.

    Returns:
        float32, (molecules, targets); NaN of a single network, and where one says nothing.
    """
    if len(predictions) == 1:
        return np.full(predictions[0].shape, np.nan, dtype=np.float32)
    said = np.stack(predictions).astype(np.float64)
    apart: NDArray[np.float64] = (probabilities(said) if kind == "classification" else said).std(axis=0, ddof=1)
    return apart.astype(np.float32)


def probabilities(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probabilities of logits: the logistic function, whose tails stay apart."""
    values: NDArray[np.float64] = np.exp(-np.logaddexp(0, -scores))
    return values


def logits(shares: NDArray[Any]) -> NDArray[np.float64]:
    """Return finite logits of probabilities; NaN stays."""
    unsure = np.clip(shares.astype(np.float64), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    finite: NDArray[np.float64] = np.log(unsure) - np.log1p(-unsure)
    return finite


def together(members: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return the arrays of several networks as those of one file; the first one's keep their names."""
    return {
        f"{_prefix(number)}{name}": array for number, arrays in enumerate(members) for name, array in arrays.items()
    }


def of_member(arrays: Mapping[str, Array], number: int) -> dict[str, Array]:
    """Return the arrays of one network out of those of a file, under the names that it has by itself."""
    prefix = _prefix(number)
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _prefix(number: int) -> str:
    return f"member{number}." if number else ""
