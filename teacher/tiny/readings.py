"""What has been read after each character of a SMILES: the decoder's lessons.

The answer alone teaches the decoder slowly: it names at the end, in a few words, what stood anywhere in the SMILES. So
the decoder is also asked, at each character, which functional groups and how many rings are complete by then, and how
far polar surface and logP have added up. The head that answers is thrown away after the training.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from teacher.facts import matches_of_groups, vocabulary
from teacher.molecule import Molecule

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


def known(molecule: Molecule) -> np.ndarray:
    """Return which labels hold after each character of `molecule.smiles`.

    An atom counts from the character after it on, which often decides what it is (an alcohol or an ether).

    Returns:
        Booleans of shape (length + 1, labels); the last row is about the whole molecule.
    """
    import numpy as np

    ends = _ends(molecule)
    columns = {label: number for number, label in enumerate(labels())}
    answer = np.zeros((len(molecule.smiles) + 1, len(columns)), dtype=bool)
    for group, matches in matches_of_groups(molecule.mol).items():
        answer[min(max(ends[atom] for atom in match) for match in matches) :, columns[group]] = True
    for kind, rings in _rings(molecule).items():
        completed = sorted(max(ends[atom] for atom in ring) for ring in rings)
        for count, end in enumerate(completed[:MOST_RINGS], 1):
            answer[end:, columns[f"{kind} rings >= {count}"]] = True
    for name, shares in _shares(molecule.mol).items():
        sums = np.zeros(len(answer))
        np.add.at(sums, [ends[atom] for atom in range(len(shares))], shares)
        for least in STEPS_TOLD_APART[name]:
            answer[:, columns[f"{name} >= {least}"]] = np.cumsum(sums) >= least
    return answer


def _ends(molecule: Molecule) -> dict[int, int]:
    """Return where each atom ends in the SMILES, its ring bonds included."""
    order = molecule.mol.GetPropsAsDict(includePrivate=True, includeComputed=True)["_smilesAtomOutputOrder"]
    return {atom: match.end() for atom, match in zip(order, ATOM.finditer(molecule.smiles), strict=True)}


def _rings(molecule: Molecule) -> dict[str, list[tuple[int, ...]]]:
    """Return the atoms of the aromatic rings (all bonds aromatic, as `Facts` has it) and of the others."""
    info = molecule.mol.GetRingInfo()
    rings: dict[str, list[tuple[int, ...]]] = {"aromatic": [], "aliphatic": []}
    for atoms, bonds in zip(info.AtomRings(), info.BondRings(), strict=True):
        aromatic = all(molecule.mol.GetBondWithIdx(bond).GetIsAromatic() for bond in bonds)
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
