"""The transfer set of distillation: molecules without labels that students learn the teachers' predictions of.

What a teacher knows it can say of any molecule, labelled or not (Hinton et al., arXiv 1503.02531, section 2). So the
library that is to be scored also teaches the student that will score it.

Libraries are sorted by vendor, size or date more often than not, so that their first molecules do not stand for the
others. The transfer set is a random sample: the rows with the lowest hashes, which one pass over the library finds
while it holds no more than these.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from cluster.library.rows import read_all
from cluster.library.source import Source
from distill.data.dataset import Dataset
from teacher.chemistry.bounds import Notation
from teacher.chemistry.molecule import InvalidMoleculeError, Molecule
from teacher.chemistry.parsing import parse_safely
from teacher.errors import UsageError


def with_transfer_set(dataset: Dataset, sources: Sequence[Source], most: int, seed: int = 0) -> Dataset:
    """Return a dataset with molecules of a library behind its own, none of them labelled.

    They are a random sample of the library's distinct rows, in the library's order, of those that RDKit reads and that
    the dataset does not hold: so nothing is learnt about a molecule of its test part. The same library and seed give
    the same sample.

    Args:
        dataset: N molecules, which keep their places.
        sources: the files of the library, as `resolve` found them; all of it is read, but only what is sampled is
            parsed.
        most: how many molecules to take.
        seed: of the sample.

    Raises:
        UsageError: the library holds no such molecule.
    """
    taken = _sample(sources, most, seed, frozenset(dataset.keys))
    if not taken:
        raise UsageError(f"The transfer set holds no molecule beside those of {dataset.name}: name another library.")
    smiles = [molecule.smiles for molecule in taken]
    unknown = np.full((len(taken), len(dataset.targets)), np.nan, dtype=np.float32)
    return replace(
        dataset,
        smiles=(*dataset.smiles, *smiles),
        keys=(*dataset.keys, *(molecule.key for molecule in taken)),
        labels=np.concatenate([dataset.labels, unknown]),
        groups=None,
        sha256=hashlib.sha256("\n".join([dataset.sha256, *smiles]).encode()).hexdigest(),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the library: its hash, its place, and what stands there."""

    rank: int
    place: int
    raw: bytes
    notation: Notation


def _sample(sources: Sequence[Source], most: int, seed: int, known: frozenset[bytes]) -> list[Molecule]:
    """Return so many random molecules that are not known, in their order, or all of them where there are fewer."""
    candidates = 2 * most + len(known)  # some hold no molecule, are known, or are one molecule written in two ways
    while True:
        rows = _lowest(_rows(sources, seed), candidates)
        found: dict[bytes, tuple[int, Molecule]] = {}
        for row in rows:
            molecule = _molecule(row)
            if molecule is not None and molecule.key not in known and len(found) < most:
                found.setdefault(molecule.key, (row.place, molecule))
        if len(found) == most or len(rows) < candidates:
            return [molecule for _, molecule in sorted(found.values(), key=lambda placed: placed[0])]
        candidates *= 4


def _rows(sources: Sequence[Source], seed: int) -> Iterator[_Row]:
    salt, places = seed.to_bytes(8, "little", signed=True), count()
    for block in read_all(sources):
        for raw, notation in zip(block["raw"].to_pylist(), block["notation"].to_pylist(), strict=True):
            digest = hashlib.blake2b(raw, digest_size=16, salt=salt).digest()
            yield _Row(int.from_bytes(digest), next(places), raw, notation)


def _lowest(rows: Iterator[_Row], number: int) -> list[_Row]:
    """Return the distinct rows with the lowest hashes, from the lowest on."""
    heap: list[tuple[int, _Row]] = []  # the highest hash first
    held: set[int] = set()
    for row in rows:
        if row.rank in held or (len(heap) == number and row.rank > heap[0][1].rank):
            continue
        held.add(row.rank)
        heapq.heappush(heap, (-row.rank, row))
        if len(heap) > number:
            held.discard(heapq.heappop(heap)[1].rank)
    return sorted((row for _, row in heap), key=lambda row: row.rank)


def _molecule(row: _Row) -> Molecule | None:
    try:
        return parse_safely(row.raw, row.notation)
    except InvalidMoleculeError:
        return None
