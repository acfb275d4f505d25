"""What can be seen in each patch of a drawing: the vision tower's lessons.

The answer alone teaches the vision tower slowly: the error has to find its way back through the decoder, and says of
forty atoms at once that one word was wrong. So the tower is also asked, of each patch, which atoms, bonds and
functional groups lie there. The head that answers is thrown away after the training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from teacher.chemistry.facts import matches_of_groups, vocabulary
from teacher.tiny.model import PATCH_SIZE, PATCHES

if TYPE_CHECKING:
    import numpy as np
    from rdkit.Chem import Atom, Mol

ELEMENTS = ("C", "N", "O", "F", "P", "S", "Cl", "Br", "I")
KINDS = ("charged", "in a ring", "aromatic", "with hydrogen", "SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")


def labels() -> tuple[str, ...]:
    """Return what is asked of a patch."""
    return (*ELEMENTS, *KINDS, *vocabulary())


def seen(mol: Mol, places: Sequence[tuple[float, float]]) -> np.ndarray:
    """Return which labels hold of each patch.

    Args:
        mol: the molecule that was drawn.
        places: where each atom is in the drawing, in pixels.

    Returns:
        Booleans of shape (patches, labels), the patches row by row as the vision tower takes them.
    """
    import numpy as np

    columns = {label: number for number, label in enumerate(labels())}
    answer = np.zeros((PATCHES * PATCHES, len(columns)), dtype=bool)

    def mark(x: float, y: float, label: str) -> None:
        if label in columns:
            column, row = (min(max(int(value // PATCH_SIZE), 0), PATCHES - 1) for value in (x, y))
            answer[row * PATCHES + column, columns[label]] = True

    for atom, (x, y) in zip(mol.GetAtoms(), places, strict=True):
        for label in _labels_of(atom):
            mark(x, y, label)
    for bond in mol.GetBonds():
        (x1, y1), (x2, y2) = places[bond.GetBeginAtomIdx()], places[bond.GetEndAtomIdx()]
        mark((x1 + x2) / 2, (y1 + y2) / 2, bond.GetBondType().name)
    for group, matches in matches_of_groups(mol).items():
        for index in frozenset().union(*matches):
            mark(*places[index], group)
    return answer


def _labels_of(atom: Atom) -> Iterator[str]:
    yield atom.GetSymbol()
    if atom.GetFormalCharge():
        yield "charged"
    if atom.IsInRing():
        yield "in a ring"
    if atom.GetIsAromatic():
        yield "aromatic"
    if atom.GetTotalNumHs():
        yield "with hydrogen"
