"""Which molecules each step takes, and which worker computes each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster.training.fit import Fit
from cluster.training.stream import steps_of

if TYPE_CHECKING:
    import numpy as np

SHARDS = 64  # that the molecules are dealt to where a step takes all of them
STREAM_BATCH = 256  # molecules of a step, where a schedule takes all at once and a stream cannot be held


def steps(fit: Fit) -> int:
    """Return how many steps an epoch has: the number at which the last one is closest to a whole batch.

    What would be less than half a batch is added to the step before it, since BatchNorm cannot train on one molecule,
    and the gradient of a few is mostly noise. This does not ask how many workers there are, so that their number
    changes no result.
    """
    if fit.stream:
        return steps_of(fit.stream, stream_sizes(fit)[1])
    size = fit.schedule.batch_size
    return max(1, (len(fit.train) + size // 2) // size) if size else 1


def stream_sizes(fit: Fit) -> tuple[int, int]:
    """Return how many labelled molecules a step has beside a stream, and how many of the stream."""
    return sizes(fit.schedule.batch_size or STREAM_BATCH, fit.labelled_share)


def sizes(batch_size: int, labelled_share: float) -> tuple[int, int]:
    """Return how many of a step's molecules are labelled, and how many are not.

    There is one of each at least, unless the share is 0: then none is labelled.
    """
    if not labelled_share:
        return 0, batch_size
    labelled = min(batch_size - 1, max(1, round(labelled_share * batch_size)))
    return labelled, batch_size - labelled


def most_workers(fit: Fit) -> int:
    """Return how many workers can share a fit such that each has two molecules or more in every step, or 1."""
    if not fit.shareable:
        return 1
    if fit.stream:
        return max(1, (fit.schedule.batch_size or STREAM_BATCH) // 4)
    molecules, size = len(fit.train), fit.schedule.batch_size or SHARDS
    last = molecules - (steps(fit) - 1) * size
    return max(1, min(size, last) // 2)


def assign_shards(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Deal the training molecules to shards.

    A step takes one molecule of each shard (the last one may take two), and the workers divide the shards among
    themselves. So a step takes the same molecules however many workers there are, and a worker needs those of its own
    shards only.

    Returns:
        The training rows in a random order, and the shard of each.
    """
    import numpy as np

    rows = np.random.default_rng(fit.seed).permutation(fit.train)
    return rows, np.arange(len(rows)) % (fit.schedule.batch_size or SHARDS)


def batches(fit: Fit, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows of each step of an epoch, and their shards."""
    import numpy as np

    rows, shards = assign_shards(fit)
    if fit.schedule.batch_size is None:
        yield rows, shards
        return
    shuffled = np.random.default_rng([fit.seed, epoch]).permutation(len(rows))
    by_shard = shuffled[np.argsort(shards[shuffled], kind="stable")]  # the members of each shard, in a random order
    first = np.searchsorted(shards[by_shard], shards[by_shard])
    step = np.minimum(np.arange(len(rows)) - first, steps(fit) - 1)
    in_order = by_shard[np.argsort(step, kind="stable")]
    for members in np.split(in_order, np.cumsum(np.bincount(step))[:-1]):
        yield rows[members], shards[members]
