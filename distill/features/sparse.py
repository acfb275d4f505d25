"""What a student reads of a molecule, in the numbers that take least room: counts that are not zero, and descriptors.

Of the 4,142 columns of `student_features` a molecule fills about 110, so a dense row takes 16 kB and these 0.6 kB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from distill.features.environments import FINGERPRINT_BITS, RADIUS, Environments
from distill.features.vectors import SURROUNDING_RADII, SURROUNDINGS, Scaler
from teacher.nn.inputs import starts, stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray

FINGERPRINTS = (
    (RADIUS, FINGERPRINT_BITS),
    *((radius, SURROUNDINGS) for radius in SURROUNDING_RADII),
)  # radius, columns
COUNT_COLUMNS = sum(size for _, size in FINGERPRINTS)


def counted(environments: Environments) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.int64]]:
    """Count the environments of N molecules.

    Returns:
        The columns that are not zero, ascending, one molecule after another; the count in each; and where each
        molecule's begin, and where the last one's end (N + 1). Columns are those of the Morgan fingerprint, and behind
        them those of the surroundings of each radius.
    """
    cells = []
    first = 0
    for radius, size in FINGERPRINTS:
        rows, columns = environments.within(radius, size)
        cells.append(rows * COUNT_COLUMNS + first + columns)
        first += size
    filled, counts = np.unique(np.concatenate(cells), return_counts=True)
    rows, columns = np.divmod(filled, COUNT_COLUMNS)
    of_each = np.bincount(rows, minlength=environments.molecules)
    return columns.astype(np.uint16), counts.astype(np.uint16), starts(of_each)


@dataclass(frozen=True, slots=True, eq=False)
class SparseVectors:
    """The features of N molecules, which become dense and scaled a batch at a time.

    Attributes:
        columns: uint16, one after another: the columns that are not zero, as `counted` numbers them.
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
