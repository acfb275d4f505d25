"""The memory of processes: what is their own and what they share, and a plot of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

COLUMNS = 2  # of panels


@dataclass(frozen=True, slots=True)
class Memory:
    """The resident memory of a process, in bytes.

    Attributes:
        own: without what it shares with others.
        shared: pages of files (libraries) and of memory that others map, too (Ray's object store), as far as it has
            touched them: those of the object store add up as objects pass by, and are there once for all processes.
    """

    own: int
    shared: int

    @classmethod
    def of(cls, process: psutil.Process) -> Memory:
        """Look at a process.

        Raises:
            psutil.Error: there is none any more.
        """
        seen = process.memory_info()
        return cls(seen.rss - seen.shared, seen.shared)


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a plot: memory in MiB over time; curves of one kind have one colour, whatever their style."""

    kind: str
    times: Sequence[float]
    mib: Sequence[float]
    style: str = "-"
    note: str = ""


def draw(panels: Mapping[str, Sequence[Curve]], path: Path, *, time: str, memory: str) -> None:
    """Plot memory over time, each panel under its title.

    Args:
        panels: curves, by the title.
        path: of the picture.
        time: what the horizontal axis is.
        memory: what the vertical axis is.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(8 if columns == 1 else 12, 3.5 * rows), layout="constrained", squeeze=False
    )
    for place, (title, curves) in zip(axes.flat, panels.items(), strict=False):
        kinds = list(dict.fromkeys(curve.kind for curve in curves))
        for curve in curves:
            label = f"{curve.kind}, {curve.note}" if curve.note else curve.kind
            place.plot(curve.times, curve.mib, curve.style, color=f"C{kinds.index(curve.kind) % 10}", label=label)
        place.set(xlabel=time, ylabel=memory, ylim=(0, None), title=title)
        place.legend(fontsize="small")
    for place in axes.flat[len(panels) :]:
        place.set_axis_off()
    figure.savefig(path, dpi=120)
