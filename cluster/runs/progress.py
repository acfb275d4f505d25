"""How far a run is, read from the store."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from cluster.runtime.periodic import run_periodically
from cluster.store.connection import StoreError
from cluster.store.store import Store

PERIOD_SECONDS = 1.0
RATE_WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A run at one moment.

    Attributes:
        rows: rows read so far; `total_rows` of the library, None while they are being counted.
        todo: molecules found so far that this run is to annotate.
        accepted, dead: what the run has stored.
        rate: molecules a second, over the last minute, or since the meter was made; `token_rate` likewise for written
            tokens.
    """

    rows: int
    total_rows: int | None
    todo: int
    accepted: int
    dead: int
    rate: float
    token_rate: float

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the run is done, if it is known; rows not yet read are taken to be like those before."""
        if not self.total_rows or not self.rows or not self.rate:
            return None
        expected = self.todo * self.total_rows / self.rows
        return max(0.0, expected - self.accepted - self.dead) / self.rate


class ProgressMeter:
    """Measures the progress of a run each time it is asked."""

    def __init__(self, store: Store, run: str, sources: int) -> None:
        self._store = store
        self._run = run
        self._sources = sources
        self._history: deque[tuple[float, int, int]] = deque()
        self.total_rows: int | None = None

    def measure(self) -> Progress:
        """Read the run's counters."""
        counted = self._store.progress(self._run)
        rows, _ = self._store.rows_read(self._run, self._sources)
        finished = counted["accepted"] + counted["dead"]
        now = time.monotonic()
        self._history.append((now, finished, counted["completion_tokens"]))
        while now - self._history[0][0] > RATE_WINDOW_SECONDS and len(self._history) > 2:
            self._history.popleft()
        then, finished_then, tokens_then = self._history[0]
        seconds = max(now - then, 1e-9)
        return Progress(
            rows=rows,
            total_rows=self.total_rows,
            todo=counted["todo"],
            accepted=counted["accepted"],
            dead=counted["dead"],
            rate=(finished - finished_then) / seconds,
            token_rate=(counted["completion_tokens"] - tokens_then) / seconds,
        )


@contextmanager
def watched(
    meter: ProgressMeter,
    count_rows: Callable[[], int],
    shows: Sequence[Callable[[Progress], None]],
    count_after: float = 0.0,
) -> Iterator[None]:
    """Show the progress once a second while the body runs, from a thread of its own.

    Args:
        meter: measures it.
        count_rows: counts the rows of the library, which reads it once more.
        shows: take the progress.
        count_after: seconds before the rows are counted: not worth it in a run that has ended by then.
    """
    begun = time.monotonic()

    def look() -> None:
        with suppress(StoreError):  # the run itself meets the same failure and says so
            if meter.total_rows is None and time.monotonic() - begun >= count_after:
                meter.total_rows = count_rows()
            progress = meter.measure()
            for show in shows:
                show(progress)

    with run_periodically(PERIOD_SECONDS, look, "progress"):
        yield
