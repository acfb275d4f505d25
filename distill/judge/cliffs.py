"""Activity cliffs: molecules that are nearly the same and measure very differently, on which methods err most.

After MoleculeACE (van Tilborg et al., J. Chem. Inf. Model. 2022, 62, 5938), whose released code is followed where it is
more exact than the text: two molecules are alike if any one of three similarities is 0.9 or more, and they form a cliff
if their labels differ by one unit or more, which is tenfold where labels are logarithms to base 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distill.features.environments import morgan
from distill.features.neighbours import Neighbours, packed
from teacher.chemistry.molecule import mol_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

ALIKE = 0.9
APART = 1.0  # in the unit of the labels
ROUNDING = 1e-5  # by which a difference of labels below 80 may be too small for being kept in float32
BITS = 1024  # of the fingerprints, as in MoleculeACE
MOST = 20_000  # molecules; of more the pairs are too many to be compared


def cliffs(smiles: Sequence[str], labels: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Tell which molecules form a cliff with another one.

    The similarities are Tanimoto's of ECFP4 (1,024 bits), the same of the molecules' skeletons (all atoms carbon, all
    bonds single), and one less Levenshtein's distance of the SMILES over the length of the longer one.

    Args:
        smiles: of N molecules, canonical.
        labels: (N, T), NaN where missing.

    Returns:
        (N, T), or None for more than `MOST` molecules.
    """
    if len(smiles) > MOST:
        return None
    found = np.zeros(labels.shape, dtype=bool)
    mols = [mol_of(each) for each in smiles]
    whole, skeletons = _indexed(mols), _indexed([_skeleton(mol) for mol in mols])
    texts, exact = _Texts(smiles), labels.astype(np.float64)
    for row in range(len(smiles) - 1):
        apart = np.abs(exact[row + 1 :] - exact[row]) >= APART - ROUNDING  # never where a label is missing
        others = np.flatnonzero(apart.any(axis=1)) + row + 1
        if len(others):
            near = whole.similar(row, others) | skeletons.similar(row, others)
            near[~near] = texts.similar(row, others[~near])
            pairs = apart[others[near] - row - 1]
            found[others[near]] |= pairs
            found[row] |= pairs.any(axis=0)
    return found


@dataclass(frozen=True, eq=False)
class _Indexed:
    """Fingerprints that are compared with each other."""

    rows: NDArray[np.uint8]
    index: Neighbours

    def similar(self, row: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        alike = self.index.similarity(self.rows[row])[others]
        return np.asarray(alike >= ALIKE)


def _indexed(mols: Sequence[Mol]) -> _Indexed:
    generator = morgan(size=BITS)
    rows = packed([generator.GetFingerprint(mol) for mol in mols])
    return _Indexed(rows, Neighbours.of(rows))


def _skeleton(mol: Mol) -> Mol:
    """Return a molecule of carbon and single bonds alone; where one cannot be, its scaffold, as MoleculeACE does."""
    from rdkit.Chem.Scaffolds.MurckoScaffold import GetScaffoldForMol, MakeScaffoldGeneric

    try:
        skeleton: Mol = MakeScaffoldGeneric(mol)  # type: ignore[no-untyped-call]
    except ValueError:  # an atom with more than four neighbours
        skeleton = GetScaffoldForMol(mol)  # type: ignore[no-untyped-call]
    return skeleton


class _Texts:
    """SMILES whose Levenshtein distances are asked for, most of which two cheap lower bounds answer."""

    def __init__(self, smiles: Sequence[str]) -> None:
        self._smiles = smiles
        self._lengths = np.array([len(each) for each in smiles])
        letters = {letter: place for place, letter in enumerate(sorted(set("".join(smiles))))}
        self._counts = np.zeros((len(smiles), len(letters)), dtype=np.int16)
        for row, each in enumerate(smiles):
            np.add.at(self._counts[row], [letters[letter] for letter in each], 1)

    def similar(self, row: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        most = np.floor((1 - ALIKE) * np.maximum(self._lengths[others], self._lengths[row]) + 1e-9).astype(int)
        surplus = self._counts[others] - self._counts[row]
        bound = np.maximum(np.maximum(surplus, 0).sum(axis=1), np.maximum(-surplus, 0).sum(axis=1))
        found = bound <= most
        for place in np.flatnonzero(found):
            found[place] = within(self._smiles[row], self._smiles[others[place]], int(most[place]))
        return np.asarray(found)


def within(one: str, other: str, most: int) -> bool:
    """Tell whether one text becomes the other by no more than so many insertions, deletions and replacements."""
    if abs(len(one) - len(other)) > most:
        return False
    far = most + 1
    last = [min(place, far) for place in range(len(other) + 1)]
    for row, letter in enumerate(one, start=1):
        begin, end = max(1, row - most), min(len(other), row + most)
        now = [far] * (len(other) + 1)
        if row <= most:
            now[0] = row
        for place in range(begin, end + 1):
            step = last[place - 1] + (letter != other[place - 1])
            now[place] = min(step, last[place] + 1, now[place - 1] + 1, far)
        if min(now) > most:
            return False
        last = now
    return last[-1] <= most
