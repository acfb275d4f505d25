"""Which rows of a prepared library hold a molecule that an earlier row has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.library.shard import read_columns
from teacher.chemistry.molecule import KEY_BYTES
from teacher.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE = "duplicates.parquet"
KEYS_AT_A_TIME = 500_000  # which take 40 MB
BUCKETS = 256  # that keys are told apart by, at most: their first byte

KEY = np.dtype([("high", ">u8"), ("low", ">u8")])


def keys_of(file: Path) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Return the keys of a shard's molecules as pairs of 64 bits, and their rows in the shard."""
    column = read_columns(file, ["key"])["key"]
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    keys = np.frombuffer(column.buffers()[1], dtype=KEY, count=len(column)) if len(rows) else np.zeros(0, dtype=KEY)
    return keys[rows], rows


def write(files: Sequence[Path], folder: Path, molecules: int) -> int:
    """Find the rows whose molecule an earlier row has, and write them down as Parquet.

    Columns: `shard` and `place` (in it, from 0) of the row, and `first_shard` and `first_place` of the earlier one.

    Args:
        files: the shards, in their order.
        folder: of the library.
        molecules: rows that hold one.

    Returns:
        How many there are.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    passes = min(BUCKETS, -(-molecules // KEYS_AT_A_TIME))
    found = [_repeated(files, number, passes) for number in range(passes)]
    repeated = np.concatenate(found)
    repeated = repeated[np.lexsort((repeated[:, 1], repeated[:, 0]))]
    names = ("shard", "place", "first_shard", "first_place")
    with replacing(folder / FILE) as aside:
        pq.write_table(pa.table({name: repeated[:, column] for column, name in enumerate(names)}), aside)
    return len(repeated)


def read(folder: Path) -> dict[int, NDArray[np.int64]]:
    """Return the places of the duplicates in each shard that has some."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / FILE, columns=["shard", "place"])
    shards, places = table["shard"].to_numpy(), table["place"].to_numpy()
    numbers, firsts = np.unique(shards, return_index=True)  # which are in order
    return dict(zip(numbers.tolist(), np.split(places, firsts[1:]), strict=True)) if len(numbers) else {}


def _repeated(files: Sequence[Path], number: int, passes: int) -> NDArray[np.int64]:
    """Return the duplicates among the keys of one pass: (duplicates, 4)."""
    high, low, places = [], [], []
    for file in files:
        keys, rows = keys_of(file)
        mine = (keys["high"] >> np.uint64(64 - 8)) % passes == number
        high.append(keys["high"][mine].astype(np.uint64))
        low.append(keys["low"][mine].astype(np.uint64))
        places.append(rows[mine].astype(np.int32))
    ends = np.cumsum([len(rows) for rows in places])
    repeated, first = _equal(np.concatenate(high), np.concatenate(low))
    place = np.concatenate(places)
    shard, first_shard = (np.searchsorted(ends, each, side="right") for each in (repeated, first))
    return np.stack([shard, place[repeated], first_shard, place[first]], axis=1).astype(np.int64)


def _equal(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the keys that an earlier place has, and of each the first place that has it."""
    order = np.lexsort((low, high))  # which leaves equal ones in their order
    high, low = high[order], low[order]
    same = np.append(False, (high[1:] == high[:-1]) & (low[1:] == low[:-1]))
    repeated, firsts = np.flatnonzero(same), np.flatnonzero(~same)
    return order[repeated], order[firsts[np.searchsorted(firsts, repeated) - 1]]


assert KEY.itemsize == KEY_BYTES
