"""What a student reads of molecules, straight on the scale of its training: only columns that it keeps are made.

`Scaler.transform(student_features(mols))` makes 4,142 columns of each molecule, most of them 0, takes the logarithm of
all and drops half. Here the environments that a molecule has are scaled one by one, and the rest is what scaling makes
of 0. The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from distill.features.environments import FINGERPRINT_BITS, RADIUS, Environments
from distill.features.vectors import (
    SURROUNDING_RADII,
    SURROUNDINGS,
    DescriptorSet,
    Scaler,
    described,
    descriptor_names,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol


class ScaledFeatures:
    """Makes what a student reads.

    Args:
        scaler: of its training.
        descriptors: that it reads beside a fingerprint.

    Raises:
        ValueError: the scaler is one of other features.
    """

    def __init__(self, scaler: Scaler, descriptors: DescriptorSet) -> None:
        self._scaler, self._descriptors = scaler, descriptors
        behind = FINGERPRINT_BITS + len(descriptor_names(descriptors))
        features = behind + len(SURROUNDING_RADII) * SURROUNDINGS
        if len(scaler.keep) and int(scaler.keep.max()) >= features:
            raise ValueError(f"column {int(scaler.keep.max())} of {features} features")
        places = np.full(features, -1, dtype=np.int64)
        places[scaler.keep] = np.arange(len(scaler.keep))
        around = places[behind:].reshape(len(SURROUNDING_RADII), SURROUNDINGS)
        self._counted = [(RADIUS, places[:FINGERPRINT_BITS]), *zip(SURROUNDING_RADII, around, strict=True)]
        self._described = places[FINGERPRINT_BITS:behind]
        self._nothing = scaler.transform(np.zeros((1, features), dtype=np.float32))

    def of(self, mols: Sequence[Mol], environments: Environments) -> NDArray[np.float32]:
        """Return the features of N molecules with these environments, float32 of shape (N, K)."""
        width = len(self._scaler.keep)
        counted = [self._cells(environments, radius, places) for radius, places in self._counted]
        cells = np.concatenate(counted)
        counts = np.zeros(len(mols) * width, dtype=np.float32)
        np.add.at(counts, cells, np.float32(1))
        scaled = np.repeat(self._nothing, len(mols), axis=0)
        scaled.reshape(-1)[cells] = self._scaler.scaled(np.log1p(counts[cells]), cells % max(width, 1))
        kept = self._described >= 0
        if kept.any():
            values = described(mols, environments, self._descriptors)[:, kept]
            scaled[:, self._described[kept]] = self._scaler.scaled(values, self._described[kept])
        return scaled

    def _cells(self, environments: Environments, radius: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where in the features, row after row, each environment of a fingerprint is counted."""
        rows, columns = environments.within(radius, len(places))
        columns = places[columns]
        known = columns >= 0
        return rows[known] * len(self._scaler.keep) + columns[known]
