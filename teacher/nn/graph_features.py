"""The features of atoms and bonds, as numbers that PyG gives to their values (`torch_geometric.utils.smiles`).

The table stands here because PyG takes 2.6 s to import, longer than torch, and most that read a graph need no more of
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, repeat
from types import MappingProxyType
from typing import Any

from rdkit.Chem import Atom, Bond, Mol
from rdkit.Chem.rdqueries import HasChiralTagQueryAtom

ATOM_VALUES: Mapping[str, Sequence[Any]] = MappingProxyType(
    {
        "atomic_num": range(119),
        "chirality": (
            "CHI_UNSPECIFIED",
            "CHI_TETRAHEDRAL_CW",
            "CHI_TETRAHEDRAL_CCW",
            "CHI_OTHER",
            "CHI_TETRAHEDRAL",
            "CHI_ALLENE",
            "CHI_SQUAREPLANAR",
            "CHI_TRIGONALBIPYRAMIDAL",
            "CHI_OCTAHEDRAL",
        ),
        "degree": range(11),
        "formal_charge": range(-5, 7),
        "num_hs": range(9),
        "num_radical_electrons": range(5),
        "hybridization": ("UNSPECIFIED", "S", "SP", "SP2", "SP3", "SP3D", "SP3D2", "OTHER"),
        "is_aromatic": (False, True),
        "is_in_ring": (False, True),
    }
)
BOND_VALUES: Mapping[str, Sequence[Any]] = MappingProxyType(
    {
        "bond_type": (
            "UNSPECIFIED",
            "SINGLE",
            "DOUBLE",
            "TRIPLE",
            "QUADRUPLE",
            "QUINTUPLE",
            "HEXTUPLE",
            "ONEANDAHALF",
            "TWOANDAHALF",
            "THREEANDAHALF",
            "FOURANDAHALF",
            "FIVEANDAHALF",
            "AROMATIC",
            "IONIC",
            "HYDROGEN",
            "THREECENTER",
            "DATIVEONE",
            "DATIVE",
            "DATIVEL",
            "DATIVER",
            "OTHER",
            "ZERO",
        ),
        "stereo": ("STEREONONE", "STEREOANY", "STEREOZ", "STEREOE", "STEREOCIS", "STEREOTRANS"),
        "is_conjugated": (False, True),
    }
)
ATOM_FEATURES, BOND_FEATURES = len(ATOM_VALUES), len(BOND_VALUES)
NOT_CHIRAL = 0  # the number of CHI_UNSPECIFIED
OTHERWISE = {  # what stands for a value that PyG does not know
    "chirality": "CHI_OTHER",
    "hybridization": "OTHER",
    "bond_type": "OTHER",
    "stereo": "STEREOANY",
}

_HAS_CHIRAL_TAG = HasChiralTagQueryAtom()


def atom_categories() -> tuple[int, ...]:
    """Return how many values each of the nine atom features can take."""
    return tuple(map(len, ATOM_VALUES.values()))


def bond_categories() -> tuple[int, ...]:
    """Return how many values each of the three bond features can take."""
    return tuple(map(len, BOND_VALUES.values()))


def describe_graph(mol: Mol) -> tuple[bytes, bytes, list[int]]:
    """Return the features of a molecule's atoms (9 of each), those of its bonds (3 of each), and the bonds' ends (2).

    All are one after another, and a bond is there once, from its lower to its higher atom. What is asked of all atoms,
    or all bonds, is asked by `map`, without a step of Python's for each; RDKit's own iterators take twice as long, and
    its enumerations three times as long as numbers, so that chirality, which few molecules have, is asked for last.
    """
    atoms = list(map(mol.GetAtomWithIdx, range(mol.GetNumAtoms())))
    chiral = bool(mol.GetAtomsMatchingQuery(_HAS_CHIRAL_TAG))
    of_atoms = zip(
        map(Atom.GetAtomicNum, atoms),
        _coded("chirality", Atom.GetChiralTag, atoms) if chiral else repeat(NOT_CHIRAL),
        _coded("degree", Atom.GetTotalDegree, atoms),
        _coded("formal_charge", Atom.GetFormalCharge, atoms),
        _coded("num_hs", Atom.GetTotalNumHs, atoms),
        _coded("num_radical_electrons", Atom.GetNumRadicalElectrons, atoms),
        _coded("hybridization", Atom.GetHybridization, atoms),
        map(Atom.GetIsAromatic, atoms),
        map(Atom.IsInRing, atoms),
        strict=False,
    )
    bonds = list(map(mol.GetBondWithIdx, range(mol.GetNumBonds())))
    of_bonds = zip(
        _coded("bond_type", Bond.GetBondType, bonds),
        _coded("stereo", Bond.GetStereo, bonds),
        map(Bond.GetIsConjugated, bonds),
        strict=True,
    )
    one, other = list(map(Bond.GetBeginAtomIdx, bonds)), list(map(Bond.GetEndAtomIdx, bonds))
    ends = zip(map(min, one, other), map(max, one, other), strict=True)
    return bytes(chain.from_iterable(of_atoms)), bytes(chain.from_iterable(of_bonds)), list(chain.from_iterable(ends))


def _coded(feature: str, ask: Callable[[Any], Any], parts: Sequence[Any]) -> Iterator[int]:
    """Return the number that PyG gives to a feature of each atom, or bond."""
    return map(_codes(feature).__getitem__, map(ask, parts))


class _Codes(dict[Any, int]):
    """The numbers that PyG gives to a feature's values, by the values themselves; found when they are first asked for.

    RDKit's enumerations are slow to name and quick to look up. A number beyond those that PyG knows is clipped.
    """

    def __init__(self, feature: str) -> None:
        super().__init__()
        self._values = {**ATOM_VALUES, **BOND_VALUES}[feature]
        self._otherwise = OTHERWISE.get(feature)

    def __missing__(self, value: Any) -> int:
        if self._otherwise is None:
            known: Any = min(max(value, self._values[0]), self._values[-1])
        else:
            known = str(value) if str(value) in self._values else self._otherwise
        self[value] = number = self._values.index(known)
        return number


@cache
def _codes(feature: str) -> _Codes:
    return _Codes(feature)
