"""A prepared library, and which of its molecules a student learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.library import duplicates
from distill.library.manifest import Manifest, read_manifest, shard_name
from distill.library.shard import read_columns
from teacher.errors import UsageError
from teacher.provenance import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Some distinct molecules of a library, none of which is in the labelled data.

    Attributes:
        rows: of each shard, int32, ascending: the places of those that were selected.
        excluded: molecules of the library that the labelled data hold, too.
        digest: of the library and the selection.
    """

    rows: Sequence[NDArray[np.int32]]
    excluded: int
    digest: str

    def __len__(self) -> int:
        return sum(map(len, self.rows))

    def narrowed(self, rows: Sequence[NDArray[np.int32]]) -> Selection:
        """Return the part of it with these rows of each shard, known by a digest of its own."""
        return Selection(rows, self.excluded, _digest(self.digest, rows))

    def divided(self, number: int, seed: int) -> tuple[Selection, Selection]:
        """Return so many molecules at random, drawn over the whole library, and the others."""
        chosen = np.zeros(len(self), dtype=bool)
        chosen[np.random.default_rng(seed).choice(len(self), number, replace=False)] = True
        ends = np.cumsum([len(rows) for rows in self.rows])
        masks = np.split(chosen, ends[:-1])
        parts = []
        for name, wanted in (("drawn", True), ("others", False)):
            rows = [of_shard[mask == wanted] for of_shard, mask in zip(self.rows, masks, strict=True)]
            parts.append(Selection(rows, self.excluded, digest([self.digest, name, number, seed])))
        return parts[0], parts[1]


@dataclass(frozen=True, slots=True)
class PreparedLibrary:
    """A folder that `gallon prepare` has filled."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> PreparedLibrary:
        """Read the manifest of a library.

        Raises:
            UsageError: as `distill.library.manifest.read_manifest`.
        """
        return cls(folder.resolve(), read_manifest(folder))

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self.manifest.shards)

    def shard(self, number: int) -> Path:
        """Return the file of a shard."""
        return self.folder / shard_name(number)

    def number(self, shard: Path) -> int:
        """Return the number of the shard in a file."""
        return [shard_name(number) for number in range(len(self))].index(shard.name)

    def select(self, known: Collection[bytes], most: int | None, seed: int) -> Selection:
        """Select the molecules that are not known: all of them, or so many at random over the whole library.

        Args:
            known: keys of the labelled molecules, of the training, validation and test part alike.
            most: how many to take; None takes all.
            seed: of the draw.

        Raises:
            UsageError: the library holds no other molecule.
        """
        labelled, repeated, excluded = frozenset(known), duplicates.read(self.folder), 0
        others: list[NDArray[np.int32]] = []
        for number in range(len(self)):
            keys = read_columns(self.shard(number), ["key"])["key"].to_pylist()
            of_data = np.array([key in labelled for key in keys])
            distinct = np.array([key is not None for key in keys])
            distinct[repeated.get(number, [])] = False
            excluded += int((of_data & distinct).sum())
            others.append(np.flatnonzero(distinct & ~of_data).astype(np.int32))
        total = sum(map(len, others))
        if not total:
            raise UsageError(f"The library in {self.folder} holds no molecule beside the labelled ones: name another.")
        if most is not None and most < total:
            drawn = np.sort(np.random.default_rng(seed).choice(total, most, replace=False))
            ends = np.cumsum([len(rows) for rows in others])
            parts = np.split(drawn, np.searchsorted(drawn, ends[:-1]))
            others = [rows[part - (end - len(rows))] for rows, part, end in zip(others, parts, ends, strict=True)]
        return Selection(others, excluded, _digest(self.manifest.digest, others))


def _digest(whole: str, rows: Sequence[NDArray[np.int32]]) -> str:
    """Return a digest of rows of each shard, and of that of which they are a part."""
    found = hashlib.sha256(whole.encode())
    for of_shard in rows:
        found.update(len(of_shard).to_bytes(4, "little") + of_shard.astype("<i4").tobytes())
    return found.hexdigest()
