"""Batches: some rows of a block of planned molecules, which one call of an annotator brings to an end."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray import ObjectRef

LEAST_BATCH = 64  # a call costs Ray about as much as a hundred rows
SMALL_BATCH = 16  # of a library that has fewer rows than its annotators could hold


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a block; the machine that works on them fetches the block once for all of its batches."""

    block: ObjectRef
    start: int
    rows: int


def cut(blocks: Iterable[tuple[ObjectRef, int]], workers: int, rows: int) -> Generator[Batch, None, None]:
    """Cut blocks into batches, which are small only as long as the library may be.

    Args:
        blocks: references to tables as `cluster.annotation.plan.plan` makes them, with the number of their rows.
        workers: annotators that are to share the rows of a small library.
        rows: at most, in a batch.
    """
    seen = 0
    for block, total in blocks:
        seen += total
        size = min(rows, max(SMALL_BATCH, math.ceil(seen / workers)))
        for start in range(0, total, size):
            yield Batch(block, start, min(size, total - start))
