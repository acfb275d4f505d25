"""The molecular graph as text."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Bond, BondType, Mol

BOND_SIGNS = {"SINGLE": "-", "DOUBLE": "=", "TRIPLE": "#", "AROMATIC": ":", "DATIVE": ">"}


def graph_text(mol: Mol) -> str:
    """Write the graph of `mol`: one word a bond, then the atoms without one.

    An atom is its element, its charge if any, and its index; a bond is written `-`, `=`, `#`, `:` (aromatic)
    or `>` (dative). Acetate with a sodium ion reads `C0-C1 C1=O2 C1-O-3 Na+4`.
    """
    # By their numbers: RDKit's own iterators over atoms and bonds take twice the time.
    atoms = [mol.GetAtomWithIdx(number) for number in range(mol.GetNumAtoms())]
    words = [_atom_word(atom) for atom in atoms]
    bonds = [_bond_word(mol.GetBondWithIdx(number), words) for number in range(mol.GetNumBonds())]
    lone_atoms = [word for atom, word in zip(atoms, words, strict=True) if atom.GetDegree() == 0]
    return " ".join(bonds + lone_atoms)


def _bond_word(bond: Bond, atoms: list[str]) -> str:
    return f"{atoms[bond.GetBeginAtomIdx()]}{_sign(bond.GetBondType())}{atoms[bond.GetEndAtomIdx()]}"


@cache
def _sign(kind: BondType) -> str:
    return BOND_SIGNS.get(kind.name, "~")


def _atom_word(atom: Atom) -> str:
    charge = atom.GetFormalCharge()
    sign = "" if charge == 0 else ("+" if charge > 0 else "-") * abs(charge)
    return f"{atom.GetSymbol()}{sign}{atom.GetIdx()}"
