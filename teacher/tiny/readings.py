"""What has been read after each character of a SMILES, and after each image token of a drawing: the decoder's lessons.

The answer alone teaches the decoder slowly: it names at the end, in a few words, what stood anywhere in the SMILES. So
the decoder is also asked, at each of those tokens, which functional groups and how many rings are complete by then, and
how far polar surface and logP have added up. The head that answers is thrown away after the training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from teacher.chemistry.facts import matches_of_groups, vocabulary
from teacher.chemistry.molecule import Molecule
from teacher.tiny.model import IMAGE_SIZE, IMAGE_TOKENS

if TYPE_CHECKING:
    import numpy as np
    from rdkit.Chem import Mol

MOST_RINGS = 6  # of a kind, that are told apart
STEPS_TOLD_APART = {"TPSA": range(20, 180, 20), "logP": range(-1, 7)}  # square angstroms; no unit
ATOM = re.compile(r"(?:\[[^\]]+\]|Br|Cl|[A-Za-z*])(?:[-=#$:/\\]?(?:%\d\d|\d))*")  # with the ring bonds after it


def labels() -> tuple[str, ...]:
    """Return what is asked at a character."""
    counts = range(1, MOST_RINGS + 1)
    rings = (f"{kind} rings >= {count}" for kind in ("aromatic", "aliphatic") for count in counts)
    sums = (f"{name} >= {least}" for name, steps in STEPS_TOLD_APART.items() for least in steps)
    return (*vocabulary(), *rings, *sums)


def in_smiles(molecule: Molecule) -> np.ndarray:
    """Return which labels hold at each character of `molecule.smiles`, and at what follows it.

    An atom counts from the character after it on, which often decides what it is (an alcohol or an ether).

    Returns:
        Booleans of shape (characters + 1, labels); the last row is about the whole molecule.
    """
    order = molecule.mol.GetPropsAsDict(includePrivate=True, includeComputed=True)["_smilesAtomOutputOrder"]
    ends = {atom: match.end() for atom, match in zip(order, ATOM.finditer(molecule.smiles), strict=True)}
    return _known(molecule.mol, [ends[atom] for atom in range(len(ends))], len(molecule.smiles))


def in_picture(mol: Mol, places: Sequence[tuple[float, float]]) -> np.ndarray:
    """Return which labels hold at each image token of a drawing, and at what follows them.

    The tokens are tiles of the drawing, row by row. An atom counts from the token after its own on.

    Args:
        mol: the molecule that was drawn.
        places: where each atom is in the drawing, in pixels.

    Returns:
        Booleans of shape (image tokens + 1, labels); the last row is about the whole molecule.
    """
    side = round(IMAGE_TOKENS**0.5)
    tiles = [[min(max(int(value * side / IMAGE_SIZE), 0), side - 1) for value in place] for place in places]
    return _known(mol, [row * side + column + 1 for column, row in tiles], IMAGE_TOKENS)


def _known(mol: Mol, counts_from: Sequence[int], length: int) -> np.ndarray:
    """Return which labels hold at each token, each atom of `mol` counting from one of them on."""
    import numpy as np

    columns = {label: number for number, label in enumerate(labels())}
    answer = np.zeros((length + 1, len(columns)), dtype=bool)
    for group, matches in matches_of_groups(mol).items():
        answer[min(max(counts_from[atom] for atom in match) for match in matches) :, columns[group]] = True
    for kind, rings in _rings(mol).items():
        completed = sorted(max(counts_from[atom] for atom in ring) for ring in rings)
        for count, end in enumerate(completed[:MOST_RINGS], 1):
            answer[end:, columns[f"{kind} rings >= {count}"]] = True
    for name, shares in _shares(mol).items():
        sums = np.zeros(length + 1)
        np.add.at(sums, counts_from, shares)
        for least in STEPS_TOLD_APART[name]:
            answer[:, columns[f"{name} >= {least}"]] = np.cumsum(sums) >= least
    return answer


def _rings(mol: Mol) -> dict[str, list[tuple[int, ...]]]:
    """Return the atoms of the aromatic rings (all bonds aromatic, as `Facts` has it) and of the others."""
    info = mol.GetRingInfo()
    rings: dict[str, list[tuple[int, ...]]] = {"aromatic": [], "aliphatic": []}
    for atoms, bonds in zip(info.AtomRings(), info.BondRings(), strict=True):
        aromatic = all(mol.GetBondWithIdx(bond).GetIsAromatic() for bond in bonds)
        rings["aromatic" if aromatic else "aliphatic"].append(atoms)
    return rings


def _shares(mol: Mol) -> dict[str, list[float]]:
    """Return what each atom, with its hydrogens, adds to the polar surface area and to logP (Wildman and Crippen)."""
    from rdkit.Chem import AddHs, rdMolDescriptors

    whole = AddHs(mol)
    log_p = [share for share, _refractivity in rdMolDescriptors._CalcCrippenContribs(whole)]
    for hydrogen in range(mol.GetNumAtoms(), whole.GetNumAtoms()):
        (bearer,) = whole.GetAtomWithIdx(hydrogen).GetNeighbors()
        log_p[bearer.GetIdx()] += log_p[hydrogen]
    return {"TPSA": list(rdMolDescriptors._CalcTPSAContribs(mol)), "logP": log_p[: mol.GetNumAtoms()]}
