"""Progress for people: bars on a terminal, and where there is none a plain line at least every half minute."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cluster.runtime.logs import Terminal
from gallon.progress import Progress, ProgressCallback, worded
from teacher.wording import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

PLAIN_SECONDS = 30.0  # between lines where there is no terminal
NOTICES = ("gallon.api", "gallon.texts")  # loggers of sentences that are for whoever gave the command


def stderr() -> Console:
    """Return the console for people: standard error, so that standard output holds results only.

    It writes to a descriptor of its own, because what Ray writes to the usual one goes to a log file.
    """
    from rich.console import Console

    return Console(file=os.fdopen(os.dup(2), "w"), soft_wrap=not sys.stderr.isatty())


@contextmanager
def shown(console: Console) -> Iterator[ProgressCallback]:
    """Show the progress of a call, and the notices and warnings that it gives on the way."""
    with noticed(console), bars(console) if console.is_terminal else plain_lines(console) as progress:
        yield progress


@contextmanager
def noticed(console: Console) -> Iterator[None]:
    """Print the sentences of `NOTICES` for people, unless the whole log is shown to them."""
    if any(isinstance(handler, Terminal) for handler in logging.getLogger("gallon").handlers):
        yield
        return
    handler = _ConsoleHandler(console)
    loggers = [logging.getLogger(name) for name in NOTICES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


class _ConsoleHandler(logging.Handler):
    """Prints log records as plain sentences."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        self._console.print(plain(record.getMessage()), markup=False, highlight=False)


@contextmanager
def bars(console: Console) -> Iterator[ProgressCallback]:
    """Draw a bar for each phase, below one another, each gone when its phase is over."""
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Live

    # Rich would have whatever is written to standard error appear above the bars, and with it all of Ray's lines.
    live = Live(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    tasks: dict[str, TaskID] = {}

    def show(progress: Progress) -> None:
        if progress.ended:
            if (task := tasks.pop(progress.phase, None)) is not None:
                live.remove_task(task)
            return
        if progress.phase not in tasks:
            tasks[progress.phase] = live.add_task(progress.phase, total=None)
        live.update(
            tasks[progress.phase],
            description=plain(worded(progress)),
            completed=progress.done,
            total=progress.total,
        )

    with live:
        yield show


@contextmanager
def plain_lines(console: Console, period: float = PLAIN_SECONDS) -> Iterator[ProgressCallback]:
    """Print a line when a phase begins, one when it ends, and meanwhile one each period, even if nothing happens."""
    reporter = _PlainReporter(console)
    stop = threading.Event()

    def remind() -> None:
        while not stop.wait(period / 10):  # late by so much at the most
            reporter.remind(period)

    reminder = threading.Thread(target=remind, name="progress", daemon=True)
    reminder.start()
    try:
        yield reporter.show
    finally:
        stop.set()
        reminder.join()


class _PlainReporter:
    """Says how far the phases are: each beginning and end, and when asked to, what has not been said for a while."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._running: dict[str, Progress] = {}
        self._said = time.monotonic()

    def show(self, progress: Progress) -> None:
        """Take a callback's news."""
        with self._lock:
            begins = progress.phase not in self._running
            if progress.ended:
                self._running.pop(progress.phase, None)
                self._say(worded(progress))
                return
            self._running[progress.phase] = progress
            if begins:
                self._say(f"{progress.phase}: started")

    def remind(self, period: float) -> None:
        """Say where the latest phase is, if nothing was said for a period."""
        with self._lock:
            if not self._running or time.monotonic() - self._said < period:
                return
            progress = list(self._running.values())[-1]
            known = progress.done or progress.total
            self._say(worded(progress) if known else f"{progress.phase}: {progress.detail or 'still going on'}")

    def _say(self, words: str) -> None:
        self._said = time.monotonic()
        self._console.print(plain(words), markup=False, highlight=False)
