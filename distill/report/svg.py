"""Figures as SVG that stands inside an HTML page.

Lines and points are of colours that show on a light ground and on a dark one; text takes its colour from the page.
Nothing in a figure is text out of the data, so there is nothing to escape.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

SQUARE = (2.0, 2.0)  # inches; a page shows a figure larger, and its letters with it
WIDE = (6.0, 1.8)
DOTS_PER_INCH = 200
GREY, BLUE, ORANGE = "#808080", "#3b82c4", "#c2701c"
DENSITY = "viridis"
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


def figure(draw: Callable[[Axes], None], key: str, size: tuple[float, float] = SQUARE) -> str:
    """Return a figure.

    Args:
        draw: puts onto the axes what they show.
        key: a word that no other figure of the page has.
        size: width and height in inches; a square has square axes.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE), StringIO() as text:
        drawn = Figure(figsize=size, layout="constrained")
        axes = drawn.subplots()
        if size == SQUARE:
            axes.set_box_aspect(1)
        draw(axes)
        drawn.savefig(text, format="svg", transparent=True, dpi=DOTS_PER_INCH, metadata=NO_METADATA)
        return with_ids_of_its_own(inline(text.getvalue()), key)


def inline(svg: str) -> str:
    """Leave out what a file needs and an element of a page does not: prologue, namespaces, styles for all, spaces."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<!--.*?-->|<style.*?</style>", "", element, flags=re.DOTALL)
    element = re.sub(r"""\s+(?:xmlns(?::\w+)?|xml:space)=(?:"[^"]*"|'[^']*')""", "", element)
    return re.sub(r">\s+<", "><", element).strip()


def with_ids_of_its_own(markup: str, key: str) -> str:
    """Put a word before all ids, since matplotlib numbers them from one in each figure, and pages name their parts."""
    return re.sub(r'( id="| aria-labelledby="|href="#|url\(#)', rf"\g<1>{key}-", markup)
