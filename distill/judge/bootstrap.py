"""Scores of test molecules drawn again and again, scaffold by scaffold: how far other molecules would move them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.cells import Kind
from distill.learn.metrics import can_be_scored, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPLICATES = 2_000
AT_ONCE = 4_000_000  # weights that are held in memory


def draws(groups: NDArray[np.int64], replicates: int = REPLICATES, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """Draw as many groups as there are, with replacement, and say how often each molecule came.

    Molecules of one scaffold resemble each other, so that a draw of single molecules would take them for more evidence
    than they are.

    Args:
        groups: (N,), the number of each molecule's group, from 0 on.
        replicates: how many draws.
        seed: of the draws.

    Yields:
        Blocks of draws, float64 of shape (some, N), together `replicates` of them.
    """
    chance = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    block = max(1, AT_ONCE // max(len(groups), count))
    for begun in range(0, replicates, block):
        size = min(block, replicates - begun)
        drawn = chance.multinomial(count, np.full(count, 1 / count), size=size)
        yield drawn[:, groups].astype(np.float64)


def scores(
    kind: Kind, truth: NDArray[np.float32], prediction: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Score predictions under weights of molecules: the main metric, averaged over the targets that can be scored.

    Args:
        kind: what all targets are.
        truth: (N, T), NaN where missing.
        prediction: (N, T).
        weights: (B, N), how often each molecule counts.

    Returns:
        (B,), NaN where no target could be scored: without both classes, or without a label.
    """
    found = []
    for labels, said in zip(truth.T, prediction.T, strict=True):
        known = ~np.isnan(labels)
        if can_be_scored(kind, labels[known]):
            weigh = _roc_auc if kind == "classification" else _rmse
            of_target = weigh(labels[known].astype(np.float64), said[known].astype(np.float64), weights[:, known])
            found.append(of_target / unit(kind, labels[known], truth.shape[1]))
    if not found:
        return np.full(len(weights), np.nan)
    of_targets = np.stack(found)
    scored = ~np.isnan(of_targets)
    sums = np.where(scored, of_targets, 0.0).sum(axis=0)
    return _ratio(sums, scored.sum(axis=0))


def _rmse(
    truth: NDArray[np.float64], prediction: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.sqrt(_ratio(weights @ (truth - prediction) ** 2, weights.sum(axis=1)))


def _roc_auc(
    truth: NDArray[np.float64], prediction: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the share of pairs of a positive and a negative that are ranked rightly, equals counting half."""
    order = np.argsort(prediction, kind="stable")
    _, begins = np.unique(prediction[order], return_index=True)
    ranked, classes = weights[:, order], truth[order]
    positives = np.add.reduceat(ranked * classes, begins, axis=1)
    negatives = np.add.reduceat(ranked * (1 - classes), begins, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return _ratio((positives * below).sum(axis=1), pairs)


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    """Divide, and leave NaN where there is nothing to divide by."""
    quotient = np.full(above.shape, np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
