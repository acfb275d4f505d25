"""Pictures of a comparison, as SVG that stands inside an HTML page: how a method predicts, and drawn molecules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.report.svg import BLUE, GREY, figure, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MOST_POINTS = 500  # that are drawn one by one; more become a picture of pixels, which does not grow with them
DRAWING = 240, 180  # pixels


def parity(truth: NDArray[Any], prediction: NDArray[Any], limits: tuple[float, float], key: str) -> str:
    """Plot predicted numbers over measured ones.

    Args:
        truth: (N,), in the unit of the labels.
        prediction: likewise.
        limits: of both axes, so that the plots of several methods can be compared; points beyond lie on the edge.
        key: a word that no other picture of the page has.
    """

    def draw(axes: Axes) -> None:
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8)
        many = len(truth) > MOST_POINTS
        shown = np.clip(prediction, *limits)
        axes.plot(truth, shown, "o", color=BLUE, alpha=0.6, markersize=3, markeredgewidth=0, rasterized=many)
        axes.set(xlim=limits, ylim=limits, xlabel="measured", ylabel="predicted")

    return figure(draw, key)


def roc(truth: NDArray[Any], prediction: NDArray[Any], key: str) -> str:
    """Plot the receiver operating characteristic of one class.

    Args:
        truth: (N,), 0 and 1, both of them there.
        prediction: (N,), the greater, the likelier 1.
        key: a word that no other picture of the page has.
    """
    from sklearn.metrics import roc_curve

    false_positives, true_positives, _ = roc_curve(truth, prediction)

    def draw(axes: Axes) -> None:
        axes.plot((0, 1), (0, 1), color=GREY, linewidth=0.8)
        axes.plot(false_positives, true_positives, color=BLUE, linewidth=1.5)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="false positive rate", ylabel="true positive rate")

    return figure(draw, key)


def limits_of(truth: NDArray[Any], predictions: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Return limits around all values, but no wider than thrice the truth: one wild method must not hide the others."""
    least, most = float(truth.min()), float(truth.max())
    span = most - least
    low, high = min(prediction.min() for prediction in predictions), max(prediction.max() for prediction in predictions)
    room = 0.04 * span
    return max(min(least, low), least - span) - room, min(max(most, high), most + span) + room


def structure(smiles: str) -> str:
    """Draw a molecule, on white: RDKit's colours are made for it."""
    from rdkit.Chem.Draw import rdMolDraw2D

    from teacher.chemistry.molecule import mol_of

    drawer = rdMolDraw2D.MolDraw2DSVG(*DRAWING)
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol_of(smiles))
    drawer.FinishDrawing()
    return inline(drawer.GetDrawingText())
