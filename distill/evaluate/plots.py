"""Pictures of a report, as SVG that stands inside an HTML page: how a method predicts, and drawn molecules.

Nothing in them is text out of the data, so there is nothing to escape. Lines and points are of colours that show on a
light ground and on a dark one; text takes its colour from the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType
    from numpy.typing import NDArray

SIDE = 2.0  # inches; the page shows it larger, and its letters with it
MOST_POINTS = 500  # that are drawn one by one; more become a picture of pixels, which does not grow with them
DOTS_PER_INCH = 200
GREY, BLUE = "#808080", "#3b82c4"
STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",  # letters as letters: a tenth of the size of letters as paths
    "svg.hashsalt": "gallon",  # the same picture from the same numbers
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
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

    return _square(draw, key)


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

    return _square(draw, key)


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

    from teacher.molecule import mol_of

    drawer = rdMolDraw2D.MolDraw2DSVG(*DRAWING)
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol_of(smiles))
    drawer.FinishDrawing()
    return _inline(drawer.GetDrawingText())


def _square(draw: Callable[[Axes], None], key: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE), StringIO() as text:
        figure = Figure(figsize=(SIDE, SIDE), layout="constrained")
        axes = figure.subplots()
        axes.set_box_aspect(1)
        draw(axes)
        figure.savefig(text, format="svg", transparent=True, dpi=DOTS_PER_INCH, metadata=NO_METADATA)
        return _with_ids_of_its_own(_inline(text.getvalue()), key)


def _inline(svg: str) -> str:
    """Leave out what a file needs and an element of a page does not: prologue, namespaces, styles for all, spaces."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<!--.*?-->|<style.*?</style>", "", element, flags=re.DOTALL)
    element = re.sub(r"""\s+(?:xmlns(?::\w+)?|xml:space)=(?:"[^"]*"|'[^']*')""", "", element)
    return re.sub(r">\s+<", "><", element).strip()


def _with_ids_of_its_own(svg: str, key: str) -> str:
    """Put a word before all ids, since matplotlib numbers them from one in each picture."""
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{key}-", svg)
