"""How far a run is, read from the store."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from cluster.runtime.periodic import run_periodically
from cluster.store.connection import StoreError
from cluster.store.store import Store
from teacher.errors import GallonError

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


class RowCounter:
    """Counts the rows of a library in a thread of its own, which nobody waits for: it ends with its next block.

    Args:
        block_sizes: starts the count, and yields numbers of rows, one block of the library after the other.
        after: seconds before it is started: not worth it for a run that has ended by then.
    """

    def __init__(self, block_sizes: Callable[[], Iterator[int]], after: float) -> None:
        self.total: int | None = None
        self._block_sizes, self._after = block_sizes, after
        self._given_up = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._count, name="row-count", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up.set()

    def _count(self) -> None:
        if self._given_up.wait(self._after):
            return
        total = 0
        with suppress(GallonError):  # the run itself meets the same failure and says so
            for rows in self._block_sizes():
                if self._given_up.is_set():
                    return
                total += rows
            self.total = total


@contextmanager
def watched(
    meter: ProgressMeter,
    counter: RowCounter,
    expect: Callable[[int], None],
    shows: Sequence[Callable[[Progress], None]],
) -> Iterator[None]:
    """Show the progress once a second while the body runs, from a thread of its own.

    Args:
        meter: measures it.
        counter: counts the rows of the library meanwhile, which may take longer than the body.
        expect: takes their number, once it is known.
        shows: take the progress.
    """

    def look() -> None:
        with suppress(StoreError):  # the run itself meets the same failure and says so
            if meter.total_rows is None and counter.total is not None:
                expect(counter.total)
                meter.total_rows = counter.total
            progress = meter.measure()
            for show in shows:
                show(progress)

    with counter, run_periodically(PERIOD_SECONDS, look, "progress"):
        yield
