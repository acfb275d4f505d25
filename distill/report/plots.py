"""Pictures of a comparison, as SVG that stands inside an HTML page: how a method predicts, and drawn molecules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.learn.metrics import main_metric
from distill.report.svg import BLUE, DENSITY, GREY, figure, inline
from distill.report.verdict import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from distill.judge.curve import FewerLabels
    from distill.judge.judged import Judged
    from distill.judge.summary import Summary

MOST_POINTS = 500  # that are drawn one by one; of more the density is drawn
CELLS = 40  # of the density, across
BINS = 5  # of molecules, as many in each
DRAWING = 240, 180  # pixels
BY_LABELS = 6.0, 3.2  # inches
MARKERS = "os^Dv<>p*hXP"
BOND = 18  # pixels; a molecule too large for it is drawn smaller


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
        shown = np.clip(prediction, *limits)
        if len(truth) > MOST_POINTS:
            extent = (*limits, *limits)
            axes.hexbin(
                truth, shown, gridsize=CELLS, mincnt=1, bins="log", extent=extent, cmap=DENSITY, rasterized=True
            )
        else:
            axes.plot(truth, shown, "o", color=BLUE, alpha=0.6, markersize=3, markeredgewidth=0)
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


def precision_recall(truth: NDArray[Any], prediction: NDArray[Any], key: str) -> str:
    """Plot precision over recall of one class, and the share of that class, which a guess would have as precision.

    Args:
        truth: as in `roc`.
        prediction: likewise.
        key: likewise.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(truth, prediction)

    def draw(axes: Axes) -> None:
        axes.axhline(float(truth.mean()), color=GREY, linewidth=0.8)
        axes.step(recall, precision, where="post", color=BLUE, linewidth=1.5)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="recall", ylabel="precision")

    return figure(draw, key)


def calibration(truth: NDArray[Any], prediction: NDArray[Any], key: str) -> str:
    """Plot the share of class 1 over the predicted probability, in bins of as many molecules each.

    Args:
        truth: (N,), 0 and 1.
        prediction: (N,), probabilities of class 1.
        key: a word that no other picture of the page has.
    """
    bins = np.array_split(np.argsort(prediction, kind="stable"), min(BINS, len(truth)))
    predicted, found = (np.array([values[rows].mean() for rows in bins]) for values in (prediction, truth))

    def draw(axes: Axes) -> None:
        axes.plot((0, 1), (0, 1), color=GREY, linewidth=0.8)
        axes.plot(predicted, found, "o-", color=BLUE, linewidth=1.2, markersize=4)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="predicted probability", ylabel="share of class 1")

    return figure(draw, key)


def error_by_similarity(similarity: NDArray[Any], error: NDArray[Any], name: str, key: str) -> str:
    """Plot the mean error of molecules over their similarity to what was learned from, in bins of as many each.

    Args:
        similarity: (N,), from 0 to 1.
        error: (N,), none below 0.
        name: of the mean error.
        key: a word that no other picture of the page has.
    """
    bins = np.array_split(np.argsort(similarity, kind="stable"), min(BINS, len(error)))
    alike, wrong = (np.array([values[rows].mean() for rows in bins]) for values in (similarity, error))

    def draw(axes: Axes) -> None:
        axes.plot(alike, wrong, "o-", color=BLUE, linewidth=1.2, markersize=4)
        axes.set(xlim=(-0.02, 1.02), ylim=(0, None), xlabel="Tanimoto similarity", ylabel=name)

    return figure(draw, key)


def by_labels(judged: Judged, summary: Summary, fewer: Sequence[FewerLabels]) -> str:
    """Plot the mean score of each method over the number of labels, the last point with all of them.

    Args:
        judged: of the whole comparison.
        summary: likewise.
        fewer: the comparisons with fewer labels, from the least on.
    """
    everything = round(sum(each.learned for each in judged.splits) / len(judged.splits))
    points = [*((each.labels, each.summary) for each in fewer), (everything, summary)]

    def draw(axes: Axes) -> None:
        for number, method in enumerate(row.method for row in summary.rows):
            means = [next(row.mean for row in of.rows if row.method == method) for _, of in points]
            marker = MARKERS[number % len(MARKERS)]
            axes.plot([labels for labels, _ in points], means, marker=marker, markersize=3, linewidth=1.2, label=method)
        axes.set(xscale="log", xlabel="labels", ylabel=METRICS[main_metric(judged.kind)])
        axes.set_xticks([labels for labels, _ in points], [f"{labels:,}" for labels, _ in points])
        axes.minorticks_off()
        axes.legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))

    return figure(draw, "labels", BY_LABELS)


def limits_of(truth: NDArray[Any], predictions: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Return limits around all values, but no wider than thrice the truth: one wild method must not hide the others."""
    least, most = float(truth.min()), float(truth.max())
    span = most - least
    low, high = min(prediction.min() for prediction in predictions), max(prediction.max() for prediction in predictions)
    room = 0.04 * span
    return max(min(least, low), least - span) - room, min(max(most, high), most + span) + room


def structure(smiles: str) -> str:
    """Draw a molecule, on white, for which RDKit's colours are made; bonds of all drawings have one length."""
    from rdkit.Chem.Draw import rdMolDraw2D

    from teacher.chemistry.molecule import mol_of

    drawer = rdMolDraw2D.MolDraw2DSVG(*DRAWING)
    drawer.drawOptions().fixedBondLength = BOND  # type: ignore[assignment]  # RDKit's stubs take it for the options
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol_of(smiles))
    drawer.FinishDrawing()
    return inline(drawer.GetDrawingText())
