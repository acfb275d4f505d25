"""The molecular graph as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Bond, Mol

BOND_SIGNS = {"SINGLE": "-", "DOUBLE": "=", "TRIPLE": "#", "AROMATIC": ":", "DATIVE": ">"}


def graph_text(mol: Mol) -> str:
    """Write the graph of `mol`: one word a bond, then the atoms without one.

    An atom is its element, its charge if any, and its index; a bond is written `-`, `=`, `#`, `:` (aromatic)
    or `>` (dative). Acetate with a sodium ion reads `C0-C1 C1=O2 C1-O-3 Na+4`.
    """
    bonds = [_bond_word(bond) for bond in mol.GetBonds()]
    lone_atoms = [_atom_word(atom) for atom in mol.GetAtoms() if atom.GetDegree() == 0]
    return " ".join(bonds + lone_atoms)


def _bond_word(bond: Bond) -> str:
    sign = BOND_SIGNS.get(bond.GetBondType().name, "~")
    return f"{_atom_word(bond.GetBeginAtom())}{sign}{_atom_word(bond.GetEndAtom())}"


def _atom_word(atom: Atom) -> str:
    charge = atom.GetFormalCharge()
    sign = "" if charge == 0 else ("+" if charge > 0 else "-") * abs(charge)
    return f"{atom.GetSymbol()}{sign}{atom.GetIdx()}"
