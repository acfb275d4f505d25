"""Some rows of a library, spread over all of it."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.library.rows import read_all
from cluster.library.source import Source

if TYPE_CHECKING:
    import pyarrow as pa


def sample_rows(sources: Sequence[Source], limit: int | None, rows: int, number: int, seed: int) -> pa.Table:
    """Draw rows of a library, each as likely as any other, and return them in their order; nothing is parsed.

    Args:
        sources: the files of the library.
        limit: draw among so many rows only.
        rows: how many the library has.
        number: how many to draw; all of them where there are fewer.
        seed: of the draw.

    Returns:
        A table as `cluster.library.rows.read` yields them.

    Raises:
        LibraryError: a file cannot be read.
    """
    import pyarrow as pa

    chosen = sorted(random.Random(seed).sample(range(rows), min(number, rows)))
    found: list[pa.Table] = []
    first = 0
    for block in read_all(sources, limit):
        here = chosen[bisect_left(chosen, first) : bisect_left(chosen, first + block.num_rows)]
        found.append(block.take([place - first for place in here]) if here else block.slice(0, 0))
        first += block.num_rows
    return pa.concat_tables(found)
