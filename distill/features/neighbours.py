"""How alike molecules are, and what one can borrow from those most like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.features.environments import FINGERPRINT_BITS, morgan

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol
    from rdkit.DataStructs import ExplicitBitVect

ROWS_AT_A_TIME = 512


def fingerprints_of(mols: Sequence[Mol]) -> list[ExplicitBitVect]:
    """Return ECFP4 of molecules, as RDKit holds them: a quarter of a kilobyte each."""
    generator = morgan()
    return [generator.GetFingerprint(mol) for mol in mols]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Molecules among which the most similar one is looked for, many times.

    Only the bits that the asked fingerprint holds are looked up, each with a byte for every molecule, and the bytes are
    added: of 4,000 molecules the nearest is found in a fifth of the time that it takes to compare their bits as words,
    and in a twentieth of RDKit's bulk comparison, whose list becomes an array.

    Attributes:
        holders: uint8, (bits, N), which of them hold a bit.
        sizes: float32, (N,), how many bits each has.
    """

    holders: NDArray[np.uint8]
    sizes: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[np.uint8]) -> Neighbours:
        """Return the molecules with these fingerprints, (N, bits / 8) as `packed` makes them."""
        holders = np.ascontiguousarray(_unpacked(rows).T)
        return cls(holders, holders.sum(axis=0, dtype=np.int64).astype(np.float32))

    def similarity(self, row: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return Tanimoto's similarity of one fingerprint, (bits / 8,), to each: (N,)."""
        common, together = self._shared(np.flatnonzero(_unpacked(row)))
        return common / np.maximum(together, 1).astype(np.float64)

    def most_similar(
        self, row: NDArray[np.uint8], k: int, itself: int = -1
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the places and similarities of the k most similar molecules, the most similar first: both (k,).

        Of equally similar ones the first comes first; of fewer than k molecules all are returned.

        Args:
            row: a fingerprint, (bits / 8,).
            k: how many.
            itself: place of the molecule that is asked about, which counts as like none; -1 where it is not in it.
        """
        alike = self.similarity(row)
        if itself >= 0:
            alike[itself] = 0
        places = _greatest(alike, k)
        return places, alike[places]

    def nearest(self, rows: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the similarity of each fingerprint to its nearest molecule, and which that is: both (rows,)."""
        similarity, place = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
        for start in range(0, len(rows), ROWS_AT_A_TIME):
            some = _unpacked(rows[start : start + ROWS_AT_A_TIME])
            held = np.split(np.nonzero(some)[1], np.cumsum(some.sum(axis=1, dtype=np.int64))[:-1])
            for number, bits in enumerate(held, start):
                common, together = self._shared(bits)
                # Of fractions of numbers below 2^12 no two are the same float32, so the first nearest is the first.
                place[number] = best = (common / np.maximum(together, 1)).argmax()
                similarity[number] = common[best] / max(float(together[best]), 1.0)
        return similarity, place

    def _shared(self, bits: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return how many bits each molecule shares with the asked one, and how many they have together: both (N,)."""
        kind = np.uint8 if len(bits) < 2**8 else np.uint16
        common = np.add.reduce(self.holders[bits], axis=0, dtype=kind)
        return common, self.sizes + np.float32(len(bits)) - common


def _greatest(values: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the places of the k greatest values, as a stable sort of all from the greatest on would begin."""
    candidates = np.arange(len(values))
    if k < len(values):
        least = np.partition(values, len(values) - k)[len(values) - k]
        candidates = np.flatnonzero(values >= least)  # with all that equal the last of the k
    return candidates[np.argsort(-values[candidates], kind="stable")][:k]


def _unpacked(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.unpackbits(rows, axis=-1, bitorder="little")


def packed(fingerprints: Sequence[ExplicitBitVect]) -> NDArray[np.uint8]:
    """Return fingerprints as rows of bytes, (N, bits / 8)."""
    from rdkit.DataStructs import BitVectToBinaryText

    rows = [np.frombuffer(BitVectToBinaryText(each), dtype=np.uint8) for each in fingerprints]
    return np.stack(rows) if rows else np.zeros((0, FINGERPRINT_BITS // 8), dtype=np.uint8)


def packed_of(mols: Sequence[Mol]) -> NDArray[np.uint8]:
    """Return ECFP4 of molecules as rows of bytes, (N, bits / 8)."""
    return packed(fingerprints_of(mols))


def neighbour_features(
    fingerprints: NDArray[np.uint8], donors: NDArray[np.int64], vectors: NDArray[np.float32], neighbours: int
) -> NDArray[np.float32]:
    """Average the vectors of each molecule's nearest donors, itself left out, weighted by Tanimoto similarity.

    The last column is their mean similarity.

    Args:
        fingerprints: of N molecules, (N, bits / 8) as `packed` makes them.
        donors: L rows of those that have a vector.
        vectors: one vector of each of them, (L, width).
        neighbours: how many to average at most.

    Returns:
        float32 of shape (N, width + 1).
    """
    place = {int(row): number for number, row in enumerate(donors)}
    donated = Neighbours.of(fingerprints[donors])
    found = np.zeros((len(fingerprints), vectors.shape[1] + 1), dtype=np.float32)
    for row, fingerprint in enumerate(fingerprints):
        nearest, weights = donated.most_similar(fingerprint, neighbours, place.get(row, -1))
        if weights.any():
            found[row, :-1] = weights @ vectors[nearest] / weights.sum()
            found[row, -1] = weights.mean()
    return found
