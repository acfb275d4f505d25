"""One run in the store's book: how it began, that it is alive, how it stands, how it ended."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, Literal

import psutil

from cluster.connection import StoreError, StoreGoneError
from cluster.periodic import every
from cluster.record import Ledger
from cluster.store import Heartbeat, Store
from teacher.spec import Spec

BEAT_SECONDS = 10.0
STOPPED = frozenset({"interrupted", "failed"})
RUNS_PARDONED = 100
ALIVE_SECONDS = 60.0  # how long a sign of life counts: a driver may be busy, or Redis frozen for a while


class Run:
    """A run of one spec over some files, entered in the store as running.

    Attributes:
        id: UTC time of its beginning and a random part, so that ids sort by time.
        started: seconds since 1970 (UTC).
    """

    def __init__(self, store: Store, spec: Spec, sources: Sequence[str], limit: int | None, started: float) -> None:
        self.id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(started))}-{secrets.token_hex(2)}"
        self.started = started
        self._store, self._spec, self._sources = store, spec, len(sources)
        self._facts: dict[str, Any] = {
            "spec": spec.id,
            "sources": list(sources),
            "limit": limit,
            "started": started,
            "host": socket.gethostname(),
        }
        store.keep_run(self.id, {**self._facts, "state": "running"})

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Give signs of life while the body runs, so that no other run takes up what this one has claimed."""

        def beat() -> None:
            self._store.beat(self.id, self._spec.id, socket.gethostname(), os.getpid(), ALIVE_SECONDS)

        def try_to_beat() -> None:
            with suppress(StoreError):  # the run itself meets the same failure and says so
                beat()

        beat()
        gone = False
        try:
            with every(BEAT_SECONDS, try_to_beat, "heartbeat"):
                yield
        except StoreGoneError:
            gone = True  # and waiting for it once more helps nobody
            raise
        finally:
            if not gone:
                with suppress(StoreError):
                    self._store.stop_beating(self.id)

    def expect(self, rows: int) -> None:
        """Note how many rows the library has, so that whoever follows the run knows how long it takes yet."""
        self._facts["total_rows"] = rows
        self._store.keep_run(self.id, {**self._facts, "state": "running"})

    def others(self) -> list[str]:
        """Return the other runs of the same spec that are alive."""
        return [run for run in self._store.alive(self._spec.id) if run != self.id]

    def ledger(self) -> Ledger:
        """Count how the rows of this run stand now."""
        return self._store.ledger(self._spec.id, self.id, self._sources, round(time.time() - self.started, 3))

    def end(self, state: Literal["finished", "interrupted"]) -> Ledger:
        """Write down how the run ended, drop what only a run in progress needs, and return the ledger of its rows."""
        ledger = self.ledger()
        facts = {**self._facts, "state": state, "finished": time.time(), "ledger": asdict(ledger)}
        self._store.keep_run(self.id, facts)
        self._store.forget_members(self.id)
        return ledger

    def fail(self, reason: str) -> None:
        """Write down why the run failed."""
        facts = {**self._facts, "state": "failed", "finished": time.time(), "reason": reason}
        self._store.keep_run(self.id, facts)
        self._store.forget_members(self.id)


def ended_well(store: Store, spec_id: str) -> list[str]:
    """Return the latest runs of a spec that were stopped in good order: no death lost what they had in hand."""
    ended = [run for run, facts in store.runs().items() if facts["spec"] == spec_id and facts["state"] in STOPPED]
    return ended[-RUNS_PARDONED:]


def bury_lost_runs(store: Store) -> None:
    """Write down which runs ended without a word, and free what they held: a killed driver cannot do so itself."""
    for run, heartbeat in store.alive().items():
        if _has_died_here(heartbeat):
            store.stop_beating(run)
    alive = store.alive()
    for run, facts in store.runs().items():
        if facts["state"] == "running" and run not in alive:
            store.keep_run(run, {**facts, "state": "lost"})
            store.forget_members(run)


def _has_died_here(heartbeat: Heartbeat) -> bool:
    """Tell whether a run's process was on this machine and is no more; of other machines nothing is known."""
    if heartbeat.host != socket.gethostname():
        return False
    try:
        return bool(psutil.Process(heartbeat.process).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
