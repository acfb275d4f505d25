"""How many molecules annotators are given at a time."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.annotation.batches import cut


def sizes(blocks: list[int], workers: int, rows: int = 64) -> list[int]:
    """Return the sizes of batches of blocks of so many rows, which nobody looks into."""
    named: list[tuple[Any, int]] = [(f"block {number}", total) for number, total in enumerate(blocks)]
    return [batch.rows for batch in cut(named, workers, rows)]


@pytest.mark.parametrize(("rows", "expected"), [(64, [16] * 4), (10, [10]), (130, [33, 33, 33, 31])])
def test_annotators_share_a_small_library(rows: int, expected: list[int]) -> None:
    assert sizes([rows], workers=4) == expected


def test_batches_of_a_library_of_many_small_blocks_are_whole_after_the_first_few() -> None:
    found = sizes([130] * 20, workers=8)
    assert sum(found) == 20 * 130
    assert found[:8] == [17] * 7 + [11]
    assert found[-3:] == [64, 64, 2]


def test_each_row_of_a_block_is_in_one_batch() -> None:
    batches = list(cut([("a", 130), ("b", 50)], 2, 64))  # type: ignore[list-item]
    covered = [(batch.block, row) for batch in batches for row in range(batch.start, batch.start + batch.rows)]
    assert covered == [("a", row) for row in range(130)] + [("b", row) for row in range(50)]
