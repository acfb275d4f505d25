"""Limits: what stops a run that goes wrong before it burns hours of GPUs for nothing."""

from __future__ import annotations

import _thread
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cluster.store.connection import StoreError
from cluster.store.store import Store
from teacher.errors import GallonError
from teacher.wording import counted

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 2.0
# Not SIGINT, which a run started in the background of a script inherits as ignored: nothing could interrupt it then.
STOP = signal.SIGUSR1
FEWEST = 200  # molecules that must have ended before their error rate says something


class LimitError(GallonError):
    """The run was stopped because it went wrong; what it had stored is kept, and the same command resumes."""


class TooManyDeadError(LimitError):
    """More molecules are dead letters than the user allows. Exit status 3."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """When a run stops by itself.

    Attributes:
        max_dead: dead letters that the run may leave, rows that hold no molecule among them; None allows any number.
        max_error_rate: share of the library that may be lost: rows that hold no molecule, out of those read, and dead
            letters out of the molecules that the run has ended; each counts once there are 200.
        stall_minutes: longest time in which no row is read and no molecule ends.
    """

    max_dead: int | None = None
    max_error_rate: float = 0.5
    stall_minutes: float = 60.0


class LimitMonitor:
    """Watches the counters of a run, and says which limit they passed."""

    def __init__(self, limits: RunLimits, store: Store, run: str, sources: int) -> None:
        self._brakes, self._store, self._run, self._sources = limits, store, run, sources
        self._seen: tuple[int, ...] = ()
        self._moved = time.monotonic()

    def check(self) -> None:
        """Look at the counters now.

        Raises:
            LimitError: the run must stop; the message says why and what to do.
        """
        progress = self._store.progress(self._run)
        rows, invalid = self._store.rows_read(self._run, self._sources)
        accepted, dead = progress["accepted"], progress["dead"]
        if invalid < rows:  # else it may be that no row holds a molecule, which is another failure
            refuse_dead(dead, invalid, self._brakes.max_dead)
        self._refuse_share(rows, invalid, accepted + dead, dead)
        now, seen = time.monotonic(), (rows, progress["todo"], accepted, dead)
        if seen != self._seen:
            self._seen, self._moved = seen, now
        elif now - self._moved > self._brakes.stall_minutes * 60:
            raise LimitError(
                f"Stopped: nothing has happened for {self._brakes.stall_minutes:g} minutes (--stall-minutes): look at "
                "the engine's log and at the Ray dashboard, then run the same command again."
            )

    def _refuse_share(self, rows: int, invalid: int, ended: int, dead: int) -> None:
        """Compare the share of the library that is lost with what the user allows."""
        unreadable = invalid / rows if rows >= FEWEST else 0.0
        failed = dead / ended if ended >= FEWEST else 0.0
        if unreadable + (1 - unreadable) * failed <= self._brakes.max_error_rate:
            return
        lost = [f"{invalid:,} of the first {counted(rows, 'row')} hold no molecule"] if unreadable else []
        lost += [f"{dead:,} of the first {counted(ended, 'molecule')} became dead letters"] if failed else []
        raise LimitError(
            f"Stopped: {' and '.join(lost)}, more than --max-error-rate {self._brakes.max_error_rate:g} allows: "
            "'gallon dead' says why."
        )


def refuse_dead(dead: int, invalid: int, most: int | None) -> None:
    """Compare numbers of dead letters, of molecules and of rows that hold none, with what the user allows.

    Raises:
        TooManyDeadError: together they are more.
    """
    if most is not None and dead + invalid > most:
        rows = f" ({counted(invalid, 'row')} without a molecule)" if invalid else ""
        raise TooManyDeadError(
            f"{counted(dead + invalid, 'dead letter')}{rows}, more than --max-dead {most:,} allows: 'gallon dead' says "
            "why."
        )


@contextmanager
def enforce_limits(*checks: Callable[[], None]) -> Iterator[None]:
    """Run the body, and stop it as Ctrl-C would when a check raises `LimitError`. To be used in the main thread.

    A body that ends before anybody looked is judged at its end, so that what comes of a run never hangs on its speed.

    Raises:
        LimitError: the reason why the body was stopped.
    """
    done = threading.Event()
    deciding = threading.Lock()  # so that the main thread is not interrupted once the body has ended
    reasons: list[LimitError] = []

    def check() -> None:
        for each in checks:
            each()

    def keep_watching() -> None:
        while not done.wait(PERIOD_SECONDS):
            try:
                check()
            except StoreError as error:  # the run itself meets the same failure and says so
                logger.warning("limits cannot be checked: %s", error)
            except LimitError as reason:
                logger.warning("a limit stops the run: %s", reason)
                with deciding:
                    if not done.is_set():
                        reasons.append(reason)
                        _thread.interrupt_main(STOP)
                return

    before = signal.signal(STOP, signal.default_int_handler)
    thread = threading.Thread(target=keep_watching, name="limits", daemon=True)
    thread.start()
    try:
        try:
            yield
        finally:
            with deciding:
                done.set()
        check()
    except KeyboardInterrupt:
        if reasons:
            raise reasons[0] from None
        raise
    finally:
        thread.join()
        signal.signal(STOP, before)
