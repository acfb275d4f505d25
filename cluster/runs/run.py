"""One run in the store's book: how it began, that it is alive, how it stands, how it ended."""

from __future__ import annotations

import logging
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any, Literal

from cluster.runs.limits import LimitError
from cluster.runs.workers import gpu_seconds
from cluster.runtime.errors import first_line
from cluster.runtime.periodic import run_periodically
from cluster.runtime.process import Process
from cluster.store.connection import StoreError, StoreGoneError
from cluster.store.record import Ledger
from cluster.store.store import RUN_SECONDS, Store
from teacher.errors import GallonError
from teacher.llm.spec import Spec
from teacher.wording import counted

logger = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
STOPPED = frozenset({"interrupted", "failed"})
RUNS_PARDONED = 100
ENDS_SECONDS = 60.0  # in which a run may have begun and ended unseen
ALIVE_SECONDS = 60.0  # how long a sign of life counts: a driver may be busy, or Redis frozen for a while
RENEW_SECONDS = RUN_SECONDS / 24


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C or SIGTERM keep the end of a run from being written down: schedulers send several."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


class LostRunError(LimitError):
    """Part of what a run had counted is gone from the store, so that it cannot say that it finished."""


class Run:
    """A run of one spec over some files, entered in the store as running.

    Another run may take this one for lost while its process, or Redis, is frozen. Nothing but its claims is lost by
    that: it notices with its next sign of life, and says that it is running.

    Attributes:
        id: UTC time of its beginning and a random part, so that ids sort by time.
        started: seconds since 1970 (UTC).
    """

    def __init__(self, store: Store, spec: Spec, sources: Sequence[str], limit: int | None, started: float) -> None:
        self.started = started
        self._begun = time.monotonic()
        self._store, self._spec, self._sources = store, spec, len(sources)
        self._store_id = store.identity()
        self._facts: dict[str, Any] = {
            "spec": spec.id,
            "sources": list(sources),
            "limit": limit,
            "started": started,
            "host": socket.gethostname(),
        }
        self.id = _new_id(started)
        while not store.begin_run(self.id, self._running):
            self.id = _new_id(started)
        files = counted(len(sources), "file")
        logger.info("run %s of spec %s begins, over %s, the first of them %s", self.id, spec.id, files, sources[0])

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Give signs of life while the body runs, so that no other run takes up what this one has claimed.

        A body that says how the run ended, by `end` or `fail`, leaves nothing to be taken for lost with the run.
        """
        process = Process.own()
        renewed = time.monotonic()

        def beat() -> None:
            nonlocal renewed
            self._store.heartbeat(self.id, self._spec.id, process, ALIVE_SECONDS)
            facts = self._store.facts(self.id)
            if facts.get("state") == "lost":
                logger.warning("run %s was taken for lost, and goes on", self.id)
                self._store.change_run(self.id, facts, self._running)  # unless it has just ended
            if time.monotonic() - renewed > RENEW_SECONDS:
                self._store.renew(self.id, self._sources)
                renewed = time.monotonic()

        def try_to_beat() -> None:
            try:
                beat()
            except StoreError as error:  # the run itself meets the same failure and says so
                logger.warning("run %s cannot give a sign of life: %s", self.id, error)

        beat()
        gone = False
        try:
            with run_periodically(BEAT_SECONDS, try_to_beat, "heartbeat"):
                yield
        except StoreGoneError:
            gone = True  # and waiting for it once more helps nobody
            raise
        finally:
            if not gone:
                with suppress(StoreError):
                    self._store.stop_heartbeat(self.id)

    def expect(self, rows: int) -> None:
        """Note how many rows the library has, so that whoever follows the run knows how long it takes yet."""
        self._facts["total_rows"] = rows
        self._store.save_run(self.id, self._running)

    def check(self) -> None:
        """Make sure that the store still is the one that the run began with, and has what the run counted.

        Raises:
            LostRunError: it was emptied, or exchanged, or the run was frozen for more than a day.
        """
        if not self._store.is_whole(self.id, self._store_id):
            raise LostRunError(
                f"What run {self.id} had counted is gone from the store: it came back empty, another one answers at "
                "its address, or the run was frozen for more than a day. Restore the store if records are missing, "
                "then run the same command again."
            )

    def left(self) -> tuple[int, int]:
        """Count the pending molecules of this run: those in nobody's hands, and those in the hands of other runs."""
        return self._store.left(self._spec.id, self.id)

    def rows_read(self) -> tuple[int, int]:
        """Return how many rows this run has read, and how many of them hold no molecule."""
        return self._store.rows_read(self.id, self._sources)

    def ledger(self) -> Ledger:
        """Count how the rows of this run stand now."""
        return ledger_of_run(self._store, self._spec.id, self.id, self._sources, self._seconds)

    @_undisturbed()
    def end(self, state: Literal["finished", "interrupted"]) -> Ledger:
        """Write down how the run ended, drop what only a run in progress needs, and return the ledger of its rows.

        Raises:
            LostRunError: it cannot have finished, since its ledger does not add up.
        """
        ledger = self.ledger()
        if state == "finished":
            try:
                self.check()
                refuse_loss(self.id, ledger, self._facts.get("total_rows", 0))
            except LostRunError as error:
                self.fail(str(error))
                raise
        self._close(state, ledger)
        return ledger

    @_undisturbed()
    def fail(self, reason: str) -> None:
        """Write down why the run failed, as far as the store still takes it."""
        logger.error("run %s fails: %s", self.id, reason)
        with suppress(StoreError):
            self._close("failed", self.ledger(), reason=reason)

    def fail_by(self, error: Exception) -> None:
        """Write down by which error the run ended, one that nobody foresaw too: what it had in hand is not lost."""
        foreseen = isinstance(error, GallonError)
        self.fail(str(error) if foreseen else f"It ended by {type(error).__name__}: {first_line(error)}")

    @property
    def _running(self) -> dict[str, Any]:
        return {**self._facts, "state": "running"}

    @property
    def _seconds(self) -> float:
        """How long the run has lasted, whatever was done to the clock meanwhile."""
        return time.monotonic() - self._begun

    def _close(self, state: str, ledger: Ledger, **more: str) -> None:
        end = {"state": state, "finished": self.started + self._seconds, "ledger": asdict(ledger), **more}
        self._store.save_run(self.id, {**self._facts, **end})
        self._store.forget_run(self.id, self._sources)
        logger.info("run %s is %s after %.1f s: %s", self.id, state, self._seconds, ledger)


def ledger_of_run(store: Store, spec_id: str, run: str, sources: int, seconds: float) -> Ledger:
    """Count how the rows of a run that has not ended stand, and what its workers have held.

    Raises:
        StoreError: Redis failed.
    """
    ledger = store.ledger(spec_id, run, sources, round(seconds, 3))
    return replace(ledger, gpu_seconds=gpu_seconds(store, run))


def refuse_loss(run: str, ledger: Ledger, rows: int) -> None:
    """Refuse a ledger that does not add up, or has fewer rows than the library.

    Raises:
        LostRunError: what is wrong, in one sentence and what to do.
    """
    then = "Run the same command again, then 'gallon verify' with the same files."
    if ledger.rows != ledger.molecules + ledger.duplicates + ledger.invalid:
        raise LostRunError(
            f"The ledger of run {run} does not add up: {counted(ledger.rows, 'row')}, but "
            f"{counted(ledger.molecules, 'molecule')}, {counted(ledger.duplicates, 'duplicate')} and "
            f"{ledger.invalid:,} invalid. Redis has lost part of what it acknowledged, or a file was changed while it "
            f"was read. {then}"
        )
    if ledger.rows < rows:
        raise LostRunError(f"Run {run} has read {ledger.rows:,} of {counted(rows, 'row')}. {then}")


def ended_well(store: Store, spec_id: str) -> list[str]:
    """Return the latest runs of a spec that were stopped in good order: no death lost what they had in hand."""
    ended = [run for run, facts in store.runs().items() if facts["spec"] == spec_id and facts["state"] in STOPPED]
    return ended[-RUNS_PARDONED:]


class EndedWell:
    """Knows `ended_well` of now, for who asks often: it reads all runs only where one may have ended meanwhile.

    A run says how it ended before it gives up its signs of life, so that who misses those finds the other.
    """

    def __init__(self, store: Store, spec_id: str) -> None:
        self._store, self._spec_id = store, spec_id
        self._alive: frozenset[str] = frozenset()
        self._runs: list[str] = []
        self._read: float | None = None

    def runs(self, alive: frozenset[str]) -> list[str]:
        """Return the latest runs of the spec that were stopped in good order.

        Args:
            alive: the runs of the spec that were alive just before. Whoever asks takes these for alive, too: a run that
                ends well after they were read apart would be neither alive nor ended, and taken for dead.
        """
        now = time.monotonic()
        if self._read is None or self._alive - alive or now - self._read > ENDS_SECONDS:
            self._runs, self._read = ended_well(self._store, self._spec_id), now
        self._alive = alive  # last, as other threads ask, too
        return self._runs


def mark_lost_runs(store: Store) -> None:
    """Write down which runs ended without a word, as a killed driver cannot do so itself.

    What they counted stays for a day, for who was only taken for dead; what they claimed is free.
    """
    beats = store.heartbeats()
    for run, beat in beats.items():
        if beat.process.has_died:
            store.stop_heartbeat(run)
    alive, runs = store.alive(), store.runs()
    over = {run for run in beats if runs.get(run, {}).get("state") != "running"}
    for run, facts in runs.items():
        if facts["state"] == "running" and run not in alive:
            lasted = beats[run].until - ALIVE_SECONDS - facts["started"] if run in beats else 0.0
            ledger = ledger_of_run(store, facts["spec"], run, len(facts["sources"]), max(0.0, lasted))
            if store.change_run(run, facts, {**facts, "state": "lost", "ledger": asdict(ledger)}):
                logger.warning("run %s is lost: it ended without a word", run)
                store.renew(run, len(facts["sources"]))  # else it has ended, or come back, just now
                over.add(run)
    _drop_heartbeats(store, over)


def _drop_heartbeats(store: Store, runs: Set[str]) -> None:
    """Drop the last signs of life of runs, which every claim reads; one that has come back meanwhile is alive."""
    if dropped := runs - store.alive().keys():
        store.stop_heartbeat(*dropped)


def _new_id(started: float) -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(started))}-{secrets.token_hex(4)}"
