"""How far a model's predictions can be trusted, learnt on the validation part.

Numbers have intervals by split conformal prediction (Lei et al., J. Am. Stat. Assoc. 2018, 113, 1094): as wide as the
residuals of molecules that were not learned from, among those about as similar to the training part as the molecule
that is asked about. Classes have their probabilities calibrated after Platt (1999).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.features.neighbours import Neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.cells import Kind

LEVEL = 0.9  # of the intervals
BINS = 3  # of similarity, at most
LEAST = 30  # labels in a bin; of a target with fewer there, the bins are taken together
LEAST_OF_A_CLASS = 10  # to calibrate by
INSIDE = 0.95  # of the training molecules are inside the domain, each judged by the others
JUDGED = 1_000  # training molecules that tell where the domain ends, at most


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """What was learnt about a model's errors.

    Attributes:
        level: of the intervals: the share of molecules like those of the validation part whose label lies inside.
        edges: similarities to the nearest training molecule that part the bins, ascending.
        half: of each bin, half the width of each target's interval, in the unit of the labels; None where too few
            labels tell, and for classes.
        platt: of each target, slope and offset that make a logit a calibrated one; None for numbers, and where too few
            labels tell.
        domain: the similarity to the nearest training molecule below which a molecule is outside the domain.
    """

    level: float = LEVEL
    edges: Sequence[float]
    half: Sequence[Sequence[float | None]]
    platt: Sequence[Sequence[float] | None]
    domain: float

    @classmethod
    def of(
        cls,
        kind: Kind,
        truth: NDArray[np.float32],
        prediction: NDArray[np.float32],
        fingerprints: NDArray[np.uint8],
        training: NDArray[np.uint8],
    ) -> Doubt:
        """Learn how wrong a model is.

        Args:
            kind: what all targets are.
            truth: (N, T), labels of molecules that the model has not learned from, NaN where missing.
            prediction: (N, T), what it says of them; logits of classes.
            fingerprints: of the N molecules, as `distill.features.neighbours.packed` makes them.
            training: of those that it has learned from.
        """
        known = Neighbours.of(training)
        labelled = ~np.isnan(truth).all(axis=1)
        similarity, _ = known.nearest(fingerprints[labelled])
        bins = max(1, min(BINS, len(similarity) // LEAST))
        edges = np.quantile(similarity, np.arange(1, bins) / bins) if len(similarity) else np.empty(0)
        place = np.searchsorted(edges, similarity, side="right")
        numbers = kind == "regression"
        errors = np.abs(truth.astype(np.float64) - prediction)[labelled]
        return cls(
            edges=edges.tolist(),
            half=[
                [_half(column, place == number) if numbers else None for column in errors.T] for number in range(bins)
            ],
            platt=[None if numbers else _platt(*each) for each in zip(truth.T, prediction.T, strict=True)],
            domain=_domain(known, training),
        )

    @classmethod
    def read(cls, facts: Mapping[str, Any], targets: int) -> Doubt:
        """Return what the card of a model with so many targets says.

        Raises:
            TypeError, ValueError: it says something else.
        """
        doubt = cls(**facts)
        shape = np.array(doubt.half, dtype=float).shape
        if shape != (len(doubt.edges) + 1, targets) or len(doubt.platt) != targets:
            raise ValueError(f"intervals of shape {shape} for {targets} targets")
        return doubt

    def facts(self) -> dict[str, Any]:
        """Return what a card says."""
        return asdict(self)

    def half_widths(self, similarity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return half the width of the interval of each target, (N, T), NaN where nothing tells, by similarity (N,)."""
        widths = np.array([[math.nan if each is None else each for each in row] for row in self.half])
        return widths[np.searchsorted(np.asarray(self.edges), similarity, side="right")]

    def calibrated(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return calibrated logits (N, T); they rank as before."""
        slopes = np.array([each[0] if each else 1.0 for each in self.platt], dtype=np.float32)
        offsets = np.array([each[1] if each else 0.0 for each in self.platt], dtype=np.float32)
        return slopes * logits + offsets


def _half(errors: NDArray[np.float64], inside: NDArray[np.bool_]) -> float | None:
    """Return half the width of an interval by the errors (NaN: no label) of a bin, or by all where it has few."""
    of_bin = errors[inside]
    return _quantile(of_bin if (~np.isnan(of_bin)).sum() >= LEAST else errors)


def _quantile(errors: NDArray[np.float64]) -> float | None:
    """Return the error that a share of `LEVEL` of further molecules stay below: a little more than that of these."""
    known = np.sort(errors[~np.isnan(errors)])
    rank = math.ceil((len(known) + 1) * LEVEL)
    return float(known[rank - 1]) if rank <= len(known) else None


def _platt(labels: NDArray[np.float32], logits: NDArray[np.float32]) -> list[float] | None:
    from sklearn.linear_model import LogisticRegression

    known = ~np.isnan(labels)
    classes = labels[known].astype(int)
    if min(np.bincount(classes, minlength=2)) < LEAST_OF_A_CLASS:
        return None
    fitted = LogisticRegression(C=1.0).fit(logits[known, None].astype(np.float64), classes)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return [slope, offset] if slope > 0 else None  # a model that ranks the wrong way round is not turned round


def _domain(known: Neighbours, training: NDArray[np.uint8]) -> float:
    """Return the similarity to the nearest other one that most training molecules have."""
    if len(training) < 2:
        return 0.0
    alike = []
    for row in np.random.default_rng(0).permutation(len(training))[:JUDGED].tolist():
        to_others = known.similarity(training[row])
        to_others[row] = 0.0
        alike.append(to_others.max())
    return float(np.quantile(alike, 1 - INSIDE))
