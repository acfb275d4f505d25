"""The forest plot of a comparison: how far each method is ahead of the reference, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.report.svg import BLUE, GREY, ORANGE, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from distill.judge.summary import Summary

WIDTH, HEIGHT, HEIGHT_OF_ROW = 6.0, 0.6, 0.19  # inches
COLOURS = {"better": BLUE, "worse": ORANGE, None: GREY}


def forest(summary: Summary) -> str | None:
    """Return the plot, the best method on top, or None where nothing is compared with a reference.

    Blue is significantly better, orange significantly worse, grey neither; within the band a difference is too small
    to matter.
    """
    rows = [(row, row.gain, row.interval) for row in summary.rows if row.gain is not None and row.interval is not None]
    if not rows:
        return None

    def draw(axes: Axes) -> None:
        axes.axvspan(-summary.threshold, summary.threshold, color=GREY, alpha=0.15, linewidth=0)
        axes.axvline(0, color=GREY, linewidth=0.8)
        for place, (row, gain, interval) in enumerate(reversed(rows)):
            colour = COLOURS[row.differs]
            axes.plot(interval, (place, place), color=colour, linewidth=1.5, solid_capstyle="butt")
            axes.plot(gain, place, "o", color=colour, markersize=4)
        axes.set_yticks(range(len(rows)), [row.method for row, _, _ in reversed(rows)])
        axes.set(ylim=(-0.6, len(rows) - 0.4), xlabel=f"gain over {summary.reference}")

    return figure(draw, "forest", (WIDTH, HEIGHT + HEIGHT_OF_ROW * len(rows)))
