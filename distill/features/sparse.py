"""What a student reads of a molecule, in the numbers that take least room: counts that are not zero, and descriptors.

Of the 4,142 columns of `student_features` a molecule fills about 110, so a dense row takes 16 kB and these 0.6 kB.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from distill.features import crippen
from distill.features.environments import FINGERPRINT_BITS, RADIUS, morgan
from distill.features.vectors import (
    CRIPPEN_ESTIMATED,
    SURROUNDING_RADII,
    SURROUNDINGS,
    DescriptorSet,
    Scaler,
    describer,
)
from teacher.nn.inputs import starts, stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

COUNT_COLUMNS = FINGERPRINT_BITS + len(SURROUNDING_RADII) * SURROUNDINGS


class Counter:
    """Counts and describes molecules one by one.

    Args:
        descriptors: which stand beside the counts.
    """

    def __init__(self, descriptors: DescriptorSet) -> None:
        from rdkit.Chem.rdFingerprintGenerator import AdditionalOutput

        self._generator, self._environments = morgan(), AdditionalOutput()
        self._environments.AllocateAtomToBits()
        sizes = [FINGERPRINT_BITS, *[SURROUNDINGS] * len(SURROUNDING_RADII)]
        self._fingerprints = list(zip((RADIUS, *SURROUNDING_RADII), sizes, starts(sizes).tolist(), strict=False))
        self._estimated = descriptors in CRIPPEN_ESTIMATED
        self._describe: Callable[[Mol], Sequence[float]] = describer(descriptors)

    def __call__(self, mol: Mol) -> tuple[list[int], list[int], NDArray[np.float32]]:
        """Return the columns that are not zero, the count in each, and the descriptors (D,), NaN where there is none.

        Columns: those of the Morgan fingerprint, and behind them those of the surroundings of each radius. All are
        counted out of one pass, as `distill.features.environments` does for many molecules.
        """
        self._generator.GetSparseCountFingerprint(mol, additionalOutput=self._environments)
        of_atoms = self._environments.GetAtomToBits()
        columns: list[int] = []
        counts: list[int] = []
        for radius, size, first in self._fingerprints:
            found = Tally([first + number % size for numbers in of_atoms for number in numbers[: radius + 1]])
            columns += found
            counts += found.values()
        described = np.array(self._describe(mol), dtype=np.float32)
        if self._estimated:
            fingerprint = np.zeros(FINGERPRINT_BITS, dtype=np.float32)
            for column, count in zip(columns, counts, strict=True):
                if column < FINGERPRINT_BITS:
                    fingerprint[column] = count
            described = np.append(described, crippen.estimate(np.append(fingerprint, described)[None])[0])
        described[~np.isfinite(described)] = np.nan
        return columns, counts, described


@dataclass(frozen=True, slots=True, eq=False)
class SparseVectors:
    """The features of N molecules, which become dense and scaled a batch at a time.

    Attributes:
        columns: uint16, one after another: the columns that are not zero, as `Counter` numbers them.
        counts: uint16, of the same shape.
        starts: int64, (N + 1): where each molecule's columns begin, and where the last one's end.
        descriptors: float32, (N, D).
        scaler: of the features as `student_features` orders them.
    """

    columns: NDArray[np.uint16]
    counts: NDArray[np.uint16]
    starts: NDArray[np.int64]
    descriptors: NDArray[np.float32]
    scaler: Scaler

    @classmethod
    def joined(cls, parts: Sequence[SparseVectors]) -> SparseVectors:
        """Return the features of several, one after another."""
        return cls(
            np.concatenate([part.columns for part in parts]),
            np.concatenate([part.counts for part in parts]),
            starts(np.concatenate([np.diff(part.starts) for part in parts])),
            np.concatenate([part.descriptors for part in parts]),
            parts[0].scaler,
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: NDArray[np.int64]) -> SparseVectors:
        """Return the features of some rows."""
        places, lengths = stretches(self.starts, rows)
        return SparseVectors(
            self.columns[places], self.counts[places], starts(lengths), self.descriptors[rows], self.scaler
        )

    def dense(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features of some rows as `student_features` has them, not scaled: (rows, F)."""
        width = self.descriptors.shape[1]
        features = np.zeros((len(rows), COUNT_COLUMNS + width), dtype=np.float32)
        places, lengths = stretches(self.starts, rows)
        columns = self.columns[places].astype(np.int64)
        columns[columns >= FINGERPRINT_BITS] += width
        features[np.repeat(np.arange(len(rows)), lengths), columns] = np.log1p(self.counts[places].astype(np.float32))
        features[:, FINGERPRINT_BITS : FINGERPRINT_BITS + width] = self.descriptors[rows]
        return features

    def batch(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return what `Scaler.transform` makes of the dense features of some rows: (rows, K)."""
        scaler, width = self.scaler, self.descriptors.shape[1]
        kept = np.full(COUNT_COLUMNS + width, -1)  # the place of each column among those that are kept
        kept[scaler.keep] = np.arange(len(scaler.keep))
        of_counts = np.delete(kept, slice(FINGERPRINT_BITS, FINGERPRINT_BITS + width))
        of_descriptors = kept[FINGERPRINT_BITS : FINGERPRINT_BITS + width]

        zeros = np.zeros(len(scaler.keep), dtype=np.float32)
        vectors = np.tile(scaler.scaled(zeros, slice(None)), (len(rows), 1))
        places, lengths = stretches(self.starts, rows)
        columns = of_counts[self.columns[places]]
        seen = columns >= 0
        values = np.log1p(self.counts[places][seen].astype(np.float32))
        vectors[np.repeat(np.arange(len(rows)), lengths)[seen], columns[seen]] = scaler.scaled(values, columns[seen])
        described = of_descriptors >= 0
        to = of_descriptors[described]
        vectors[:, to] = scaler.scaled(self.descriptors[rows][:, described], to)
        return torch.from_numpy(vectors)
