"""A molecule laid out for `gallery.js` to draw: a tenth of the size of its SVG, so that a page can hold very many."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Atom, Bond, Mol

BOND_LENGTH = 30  # of the median bond, in the units of a sketch
SINGLE, DOUBLE, TRIPLE, DOUBLE_LEFT, DOUBLE_RIGHT, WEDGE, HASHED, OTHER = range(8)  # as `gallery.js` knows them
SUBSCRIPTS, SUPERSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"), str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")


def layout(mol: Mol) -> dict[str, list[Any]]:
    """Lay out a molecule as RDKit would draw it.

    Returns:
        `at`: x and y of each atom, y downwards; `labels`: atom, text, and whether the text ends at the atom rather than
        beginning there; `bonds`: first atom, second atom, kind. Each is one flat list.

    Raises:
        RuntimeError, ValueError: RDKit cannot lay it out.
    """
    from rdkit.Chem.Draw import rdMolDraw2D

    drawn = rdMolDraw2D.PrepareMolForDrawing(mol, addChiralHs=False)
    places = _places(drawn)
    middles = [places[list(ring)].mean(axis=0) for ring in drawn.GetRingInfo().AtomRings()]
    labels = [part for atom in drawn.GetAtoms() for part in _label(atom, places)]
    bonds = [part for bond in drawn.GetBonds() for part in _bond(bond, places, middles)]
    return {"at": places.round().astype(int).ravel().tolist(), "labels": labels, "bonds": bonds}


def _places(drawn: Mol) -> NDArray[np.float64]:
    """Return where the atoms are, (atoms, 2), the first corner of the whole at zero."""
    places: NDArray[np.float64] = drawn.GetConformer().GetPositions()[:, :2] * (1, -1)
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in drawn.GetBonds()]
    lengths = [float(np.linalg.norm(places[first] - places[second])) for first, second in ends]
    typical = float(np.median(lengths)) if lengths else 1.0
    scaled: NDArray[np.float64] = (places - places.min(axis=0)) * (BOND_LENGTH / (typical or 1.0))
    return scaled


def _label(atom: Atom, places: NDArray[np.float64]) -> tuple[int, str, int] | tuple[()]:
    """Return an atom's label, or nothing for a carbon that needs none."""
    charge, isotope, hydrogens = atom.GetFormalCharge(), atom.GetIsotope(), atom.GetTotalNumHs()
    plain = atom.GetSymbol() == "C" and atom.GetDegree() and not (charge or isotope or atom.GetNumRadicalElectrons())
    if plain:
        return ()
    mass = str(isotope).translate(SUPERSCRIPTS) if isotope else ""
    sign = (f"{abs(charge)}" if abs(charge) > 1 else "") + "+-"[charge < 0] if charge else ""
    symbol = mass + atom.GetSymbol() + "•" * atom.GetNumRadicalElectrons()
    water = f"H{str(hydrogens).translate(SUBSCRIPTS) if hydrogens > 1 else ''}" if hydrogens else ""
    to_the_left = _leans_right(atom, places)
    text = (water + symbol if to_the_left else symbol + water) + sign.translate(SUPERSCRIPTS)
    return atom.GetIdx(), text, int(to_the_left)


def _leans_right(atom: Atom, places: NDArray[np.float64]) -> bool:
    """Tell whether an atom's bonds go to the right, so that its hydrogens are written on the left."""
    here = places[atom.GetIdx()][0]
    there = [places[neighbour.GetIdx()][0] for neighbour in atom.GetNeighbors()]
    return bool(there) and float(np.mean(there)) - here > BOND_LENGTH / 10


def _bond(bond: Bond, places: NDArray[np.float64], middles: list[NDArray[np.float64]]) -> tuple[int, int, int]:
    from rdkit.Chem import BondDir, BondType

    first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    kinds = {BondType.SINGLE: SINGLE, BondType.TRIPLE: TRIPLE}
    if bond.GetBondType() == BondType.DOUBLE:
        return first, second, _double(bond, places, middles)
    directions = {BondDir.BEGINWEDGE: WEDGE, BondDir.BEGINDASH: HASHED}
    return first, second, directions.get(bond.GetBondDir(), kinds.get(bond.GetBondType(), OTHER))


def _double(bond: Bond, places: NDArray[np.float64], middles: list[NDArray[np.float64]]) -> int:
    """Tell on which side of a double bond its second line runs: inside a ring, or where its neighbours are."""
    first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    rings = bond.GetOwningMol().GetRingInfo().AtomRings()
    inside = [
        middle
        for ring, middle in zip(rings, middles, strict=True)
        if any({first, second} == {*pair} for pair in pairwise((*ring, ring[0])))
    ]
    ends = (bond.GetBeginAtom(), bond.GetEndAtom())
    if not inside and min(end.GetDegree() for end in ends) == 1:
        return DOUBLE
    near = {neighbour.GetIdx() for end in ends for neighbour in end.GetNeighbors()} - {first, second}
    along_x, along_y = places[second] - places[first]
    sides = [
        along_x * (y - places[first][1]) - along_y * (x - places[first][0])
        for x, y in inside[:1] or places[sorted(near)]
    ]
    return DOUBLE_RIGHT if sum(sides) > 0 else DOUBLE_LEFT
