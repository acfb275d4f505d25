"""The same comparison with fewer labels to learn from: how much each method needs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.dataset import Dataset
    from distill.data.splits import Split
    from distill.judge.judged import Judged
    from distill.judge.run import Run
    from distill.judge.summary import Summary

LEAST = 20  # labels, of which some have to choose


@dataclass(frozen=True, kw_only=True, eq=False)
class FewerLabels:
    """A comparison of which methods learned from fewer labels, and judged by the same test parts.

    Attributes:
        labels: molecules with a label, in training and validation together.
        judged, runs, summary: as of the whole comparison.
    """

    labels: int
    judged: Judged
    runs: Sequence[Run]
    summary: Summary


def with_fewer_labels(split: Split, dataset: Dataset, labels: int, seed: int) -> Split:
    """Return a split whose training and validation parts have so many labelled molecules, and whose test part stays.

    They are drawn at random, and divided as the parts are now: whoever has 100 labels has none besides to choose by.
    Fewer are among more. Where a part has both classes of a single target, so has what is drawn from it.

    Args:
        split: of the dataset.
        dataset: its labels count.
        labels: how many molecules with a label.
        seed: of the draw.

    Raises:
        UsageError: there are fewer than so many, or so few that nothing is left to choose by.
    """
    known = np.asarray((~np.isnan(dataset.labels)).any(axis=1))
    train, valid = (rows[known[rows]] for rows in (split.train, split.valid))
    whole = len(train) + len(valid)
    if not LEAST <= labels < whole:
        if whole <= LEAST:
            raise UsageError(
                f"--labels needs more than {LEAST} labelled molecules in the training and validation parts of "
                f"{dataset.name}, which have {whole}: leave it out."
            )
        raise UsageError(
            f"--labels {labels}: a number from {LEAST} to {whole - 1} is possible with the "
            f"{counted(whole, 'labelled molecule')} in the training and validation parts of {dataset.name}."
        )
    chosen = max(2, round(labels * len(valid) / whole))
    parts = [
        np.sort(_order(rows, dataset.labels, seed)[:count])
        for rows, count in ((train, labels - chosen), (valid, chosen))
    ]
    digest = hashlib.sha256(f"{split.sha256} {labels} {seed}".encode())
    for rows in parts:
        digest.update(rows.astype("<i8").tobytes())
    return replace(split, train=parts[0], valid=parts[1], sha256=digest.hexdigest())


def _order(rows: NDArray[np.int64], labels: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    """Return rows in a random order, the first of each class of a single target in front."""
    order = np.random.default_rng(seed).permutation(rows)
    if labels.shape[1] > 1 or set(np.unique(labels[~np.isnan(labels)])) != {0.0, 1.0}:
        return order
    classes = labels[order, 0]
    first = sorted(int(np.argmax(classes == each)) for each in (0, 1) if (classes == each).any())
    return np.concatenate([order[first], np.delete(order, first)])
