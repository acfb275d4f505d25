"""Progress of a long call: what its callback is told, phase by phase."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

LEAST_RATE = 0.05  # per second that is shown; less is 0.0
PERIOD_SECONDS = 0.5  # between changes of a bar in a notebook


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a phase is.

    Attributes:
        phase: its name, e.g. `annotation` or `teachers`.
        unit: what is counted; empty where nothing is.
        done, total: how many are done, of how many; None where that is not known.
        rate: how many per second.
        seconds: since the phase began.
        seconds_left: until all are done; None where that is not known.
        detail: what else there is to say, in a few words.
        ended: whether the phase is over.
    """

    phase: str
    unit: str
    done: int = 0
    total: int | None = None
    rate: float = 0.0
    seconds: float = 0.0
    seconds_left: float | None = None
    detail: str = ""
    ended: bool = False


ProgressCallback = Callable[[Progress], None]


class Phase:
    """One phase of a call, which tells its callback how far it is."""

    def __init__(self, callback: ProgressCallback, name: str, unit: str) -> None:
        self._callback, self._begun = callback, time.monotonic()
        self._last = Progress(phase=name, unit=unit)
        callback(self._last)

    def update(
        self,
        done: int,
        total: int | None = None,
        detail: str = "",
        rate: float | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Tell how far the phase is; rate and time left are those since its beginning unless they are given."""
        seconds = time.monotonic() - self._begun
        if rate is None:
            rate = done / seconds if seconds else 0.0
        if seconds_left is None and total is not None and rate:
            seconds_left = (total - done) / rate
        self._last = replace(
            self._last,
            done=done,
            total=total,
            rate=rate,
            seconds=seconds,
            seconds_left=seconds_left,
            detail=detail,
        )
        self._callback(self._last)

    def end(self) -> None:
        """Tell that the phase is over."""
        self._callback(replace(self._last, seconds=time.monotonic() - self._begun, seconds_left=0.0, ended=True))


@contextmanager
def phase(callback: ProgressCallback | None, name: str, unit: str) -> Iterator[Phase]:
    """Run a phase: its callback hears of its beginning, of every update, and, if it does not fail, of its end.

    Without a callback a notebook shows a bar, and everywhere else nothing is shown.
    """
    running = Phase(callback or (notebook_bar() if in_notebook() else _ignore), name, unit)
    yield running
    running.end()


def _ignore(progress: Progress) -> None:
    """Show nothing."""


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def notebook_bar() -> ProgressCallback:
    """Return a callback that draws a bar below the running cell, and redraws it in its place."""
    from IPython.display import HTML, display

    handle = display(HTML(""), display_id=True)
    drawn = 0.0

    def draw(progress: Progress) -> None:
        nonlocal drawn
        now = time.monotonic()
        if progress.ended or now - drawn >= PERIOD_SECONDS:
            drawn = now
            handle.update(HTML(bar_html(progress)))

    return draw


def bar_html(progress: Progress) -> str:
    """Draw progress as HTML; whatever it says is escaped."""
    from html import escape

    value = ""
    if progress.ended:
        value = 'max="1" value="1"'
    elif progress.total:
        value = f'max="{progress.total}" value="{progress.done}"'
    return f"<progress {value}></progress> {escape(worded(progress))}"


def worded(progress: Progress) -> str:
    """Say how far a phase is, in one line."""
    words = []
    if progress.unit:
        of_all = f" of {progress.total:,}" if progress.total is not None else ""
        words.append(f"{progress.done:,}{of_all} {progress.unit}")
        if progress.done and progress.rate >= LEAST_RATE:
            words.append(f"{progress.rate:,.1f}/s")
    if progress.detail:
        words.append(progress.detail)
    if progress.ended:
        words.append(f"done in {duration(progress.seconds)}")
    elif progress.done or progress.seconds_left is not None:
        words.append(f"{duration(progress.seconds_left)} left")
    return f"{progress.phase}: {', '.join(words)}" if words else progress.phase


def duration(seconds: float | None) -> str:
    """Say how long something takes; None is not known."""
    if seconds is None:
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
