"""The drawn structure of a molecule, as the LLM sees it."""

from __future__ import annotations

import socket
from io import BytesIO
from typing import TYPE_CHECKING

from teacher.chemistry.molecule import mol_of
from teacher.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from rdkit.Chem import Mol
    from rdkit.Chem.Draw.rdMolDraw2D import MolDraw2DCairo


REMEDY = "install the system's libraries for that (on Debian libxrender1, libxext6 and libexpat1)"


def draw(mol: Mol, size: int) -> Image:
    """Draw `mol` with RDKit's Cairo drawer.

    Args:
        mol: a sanitised molecule; it is not changed.
        size: width and height in pixels.

    Returns:
        An RGB image of shape (size, size) on white ground.
    """
    return _image(_drawn(mol, size))


def draw_and_locate(mol: Mol, size: int) -> tuple[Image, list[tuple[float, float]]]:
    """Draw `mol` as `draw` does, and return also where each atom is: x from the left, y from the top, in pixels."""
    drawer = _drawn(mol, size)
    points = map(drawer.GetDrawCoords, range(mol.GetNumAtoms()))
    return _image(drawer), [(point.x, point.y) for point in points]


def check_drawing() -> None:
    """Find out whether RDKit can draw on this machine, before every molecule of a library turns out not to be drawn.

    Raises:
        UsageError: a library of the system is missing.
    """
    try:
        draw(mol_of("C"), 32)
    except ImportError as error:
        raise UsageError(
            f"RDKit cannot draw on {socket.gethostname()} ({error}): {REMEDY}, or give --no-image."
        ) from None


def _drawn(mol: Mol, size: int) -> MolDraw2DCairo:
    from rdkit.Chem.Draw import rdMolDraw2D

    drawer = rdMolDraw2D.MolDraw2DCairo(size, size)
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol)
    drawer.FinishDrawing()
    return drawer


def _image(drawer: MolDraw2DCairo) -> Image:
    from PIL import Image

    return Image.open(BytesIO(drawer.GetDrawingText())).convert("RGB")
