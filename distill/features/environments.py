"""The surroundings of the atoms of molecules: all that fingerprints count, found in one pass over a molecule."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

FINGERPRINT_BITS = 2048
RADIUS = 2  # ECFP4

OfAtoms = tuple[tuple[int, ...], ...]  # identifiers of the environments of each of a molecule's atoms


def morgan(radius: int = RADIUS, size: int = FINGERPRINT_BITS) -> Any:
    """Return RDKit's generator of Morgan fingerprints, by default of ECFP4."""
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    return GetMorganGenerator(radius=radius, fpSize=size)


@dataclass(frozen=True, slots=True, eq=False)
class Environments:
    """The M circular environments of N molecules that ECFP4 knows: of radius 0, 1 and 2 around each atom.

    RDKit tells, of each atom, the identifiers of its environments from the innermost outwards, those left out that hold
    the same bonds as one before. Fingerprints of any size and of any smaller radius are counts of these identifiers,
    modulo the size: three fingerprints are had for little more than one.

    Attributes:
        molecules: N.
        rows: int64, (M,), whose they are.
        ids: int64, (M,), their identifiers, of 32 bits.
        radii: int64, (M,).
    """

    molecules: int
    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    radii: NDArray[np.int64]

    @classmethod
    def of(cls, mols: Sequence[Mol]) -> Environments:
        """Find the environments of molecules."""
        finder = EnvironmentFinder()
        for mol in mols:
            finder.add(finder.find(mol))
        return finder.found()

    def within(self, radius: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return molecule and column of each environment of a fingerprint, one entry for each time it is counted."""
        if radius >= RADIUS:
            return self.rows, self.ids % size
        inside = self.radii <= radius
        return self.rows[inside], self.ids[inside] % size

    def counts(self, radius: int = RADIUS, size: int = FINGERPRINT_BITS) -> NDArray[np.float32]:
        """Return a fingerprint of counts, float32 of shape (N, size)."""
        rows, columns = self.within(radius, size)
        counted = np.zeros((self.molecules, size), dtype=np.float32)
        np.add.at(counted.reshape(-1), rows * size + columns, np.float32(1))
        return counted

    def bits(self) -> NDArray[np.uint8]:
        """Return ECFP4 as uint8 of shape (N, 2048): 0 and 1."""
        rows, columns = self.within(RADIUS, FINGERPRINT_BITS)
        held = np.zeros((self.molecules, FINGERPRINT_BITS), dtype=np.uint8)
        held[rows, columns] = 1
        return held

    def packed(self) -> NDArray[np.uint8]:
        """Return ECFP4 as rows of bytes, (N, 256), as `distill.features.neighbours` compares them."""
        return np.packbits(self.bits(), axis=1, bitorder="little")


class EnvironmentFinder:
    """Finds the environments of molecules one after another, and holds them in 4 bytes each."""

    def __init__(self) -> None:
        from rdkit.Chem.rdFingerprintGenerator import AdditionalOutput

        self._generator, self._output = morgan(), AdditionalOutput()
        self._output.AllocateAtomToBits()
        self._ids, self._of_atoms, self._atoms = array("I"), array("I"), array("I")

    def find(self, mol: Mol) -> OfAtoms:
        """Return the identifiers of each atom's environments, from the innermost outwards."""
        self._generator.GetSparseCountFingerprint(mol, additionalOutput=self._output)
        found: OfAtoms = self._output.GetAtomToBits()
        return found

    def add(self, of_atoms: OfAtoms = ()) -> None:
        """Take in the environments of one more molecule; one without any is none."""
        self._ids.extend(chain.from_iterable(of_atoms))
        self._of_atoms.extend(map(len, of_atoms))
        self._atoms.append(len(of_atoms))

    def found(self) -> Environments:
        """Return the environments of all molecules that were taken in."""
        of_each, atoms = np.array(self._of_atoms, dtype=np.int64), np.array(self._atoms, dtype=np.int64)
        total = len(self._ids)
        firsts = np.cumsum(of_each) - of_each
        return Environments(
            len(atoms),
            np.repeat(np.repeat(np.arange(len(atoms)), atoms), of_each),
            np.array(self._ids, dtype=np.int64),
            np.arange(total) - np.repeat(firsts, of_each),
        )
