"""The drawn structure of a molecule, as the LLM sees it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from rdkit.Chem import Mol


def draw(mol: Mol, size: int) -> Image:
    """Draw `mol` with RDKit's Cairo drawer.

    Args:
        mol: a sanitised molecule; it is not changed.
        size: width and height in pixels.

    Returns:
        An RGB image of shape (size, size) on white ground.
    """
    from PIL import Image
    from rdkit.Chem.Draw import rdMolDraw2D

    drawer = rdMolDraw2D.MolDraw2DCairo(size, size)
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol)
    drawer.FinishDrawing()
    return Image.open(BytesIO(drawer.GetDrawingText())).convert("RGB")
