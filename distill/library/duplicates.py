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
KEYS_AT_A_TIME = 4_000_000  # which take 130 MB
BUCKETS = 256  # that keys are told apart by, at most: their first byte

KEY = np.dtype([("high", ">u8"), ("low", ">u8")])


def keys_of(file: Path) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Return the keys of a shard's molecules as pairs of 64 bits, and their rows in the shard."""
    keys = read_columns(file, ["key"])["key"].to_pylist()
    rows = np.array([row for row, key in enumerate(keys) if key is not None], dtype=np.int64)
    return as_keys([key for key in keys if key is not None]), rows


def as_keys(keys: Sequence[bytes]) -> NDArray[np.void]:
    """Return 128-bit keys as pairs of 64 bits."""
    return np.frombuffer(b"".join(keys), dtype=KEY, count=len(keys))


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
    keys, shards, places = [], [], []
    for shard, file in enumerate(files):
        of_shard, rows = keys_of(file)
        mine = (of_shard["high"] >> np.uint64(64 - 8)) % passes == number
        keys.append(of_shard[mine])
        places.append(rows[mine])
        shards.append(np.full(int(mine.sum()), shard))
    key, shard_of, place = np.concatenate(keys), np.concatenate(shards), np.concatenate(places)
    order = np.lexsort((place, shard_of, key["low"], key["high"]))
    ordered = key[order]
    same = np.zeros(len(order), dtype=bool)
    same[1:] = ordered[1:] == ordered[:-1]
    first = order[np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))]
    mine = order[same]
    return np.stack([shard_of[mine], place[mine], shard_of[first[same]], place[first[same]]], axis=1)


assert KEY.itemsize == KEY_BYTES
