"""The process of `chemistry.drawing` in which RDKit dies over ethanol, and cannot draw water."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from teacher.chemistry import drawing

if TYPE_CHECKING:
    from rdkit.Chem import Mol

draw = drawing.draw


def draw_or_die(mol: Mol, size: int) -> Any:
    atoms = sorted(atom.GetSymbol() for atom in mol.GetAtoms())
    if atoms == ["C", "C", "O"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    if atoms == ["O"]:
        raise ValueError("nothing to see")
    return draw(mol, size)


if __name__ == "__main__":
    drawing.draw = draw_or_die
    drawing.main()
