"""What each annotator says of itself in the store, so that whoever reaches the store can follow a run."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Literal

from cluster.runtime.periodic import run_periodically
from cluster.store.connection import StoreError
from cluster.store.record import DeadLetter, Record
from cluster.store.store import Store
from cluster.store.stored import DamagedError, damaged
from teacher import strict_json

SIGN_SECONDS = 3.0
SILENT_SECONDS = 30.0  # without a sign, after which a worker is taken to be gone
ERRORS_KEPT = 5
MESSAGE_SHOWN = 300  # characters

EngineState = Literal["none", "starting", "ready", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """What a worker said last.

    Attributes:
        worker: its host and process.
        gpus: that it holds.
        engine: whether its engine has been started, and is ready.
        in_flight: molecules in the engine's hands.
        accepted, dead: molecules that it brought to an end.
        deaths: of its engines.
        errors: time (seconds since 1970, UTC) and message of its last dead letters and engine deaths.
        age: seconds since it said so.
        seconds: that it had lived then, the engine's start and idling included; None where an older gallon wrote.
    """

    worker: str
    gpus: float
    engine: EngineState
    in_flight: int
    accepted: int
    dead: int
    deaths: int
    errors: list[tuple[float, str]]
    age: float
    seconds: float | None = None

    @property
    def silent(self) -> bool:
        """Whether the worker is taken to be gone."""
        return self.age > SILENT_SECONDS


class WorkerReporter:
    """Says every few seconds, for as long as the process lives, how its annotator is.

    Attributes:
        worker: its host and process, by which its status is found.
        in_flight: molecules in the engine's hands.
    """

    def __init__(self, store: Store, run: str, gpus: float) -> None:
        self._store, self._run, self._gpus = store, run, gpus
        self.worker = f"{socket.gethostname()} {os.getpid()}"
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._engine: EngineState = "none"
        self.in_flight = self._accepted = self._dead = self._deaths = 0
        self._errors: deque[tuple[float, str]] = deque(maxlen=ERRORS_KEPT)
        self._sign()  # so that even a short life is known
        self._signing = ExitStack()
        self._signing.enter_context(run_periodically(SIGN_SECONDS, self._sign, "signs"))

    def close(self) -> None:
        """Sign no more."""
        self._signing.close()

    def engine(self, state: EngineState) -> None:
        """Note how the engine is, and say at once that it is ready.

        What dies from now on has not died of its start, which the driver knows from this alone.
        """
        self._engine = state
        if state == "ready":
            self._sign()

    def engine_died(self, message: str) -> None:
        """Note the death of the engine."""
        with self._lock:
            self._engine = "none"
            self._deaths += 1
            self._errors.append((time.time(), message[:MESSAGE_SHOWN]))

    def ended(self, outcomes: Iterable[Record | DeadLetter]) -> None:
        """Note what became of molecules."""
        with self._lock:
            for outcome in outcomes:
                if isinstance(outcome, Record):
                    self._accepted += 1
                else:
                    self._dead += 1
                    self._errors.append((outcome.time, f"{outcome.smiles}: {outcome.message}"[:MESSAGE_SHOWN]))

    def _sign(self) -> None:
        with self._lock:
            facts: dict[str, Any] = {
                "gpus": self._gpus,
                "engine": self._engine,
                "in_flight": self.in_flight,
                "accepted": self._accepted,
                "dead": self._dead,
                "deaths": self._deaths,
                "errors": list(self._errors),
                "seconds": round(time.monotonic() - self._begun, 3),
            }
        with suppress(StoreError):  # the annotator itself meets the same failure and says so
            self._store.save_worker_status(self._run, self.worker, facts)


def worker_statuses(store: Store, run: str) -> list[WorkerStatus]:
    """Return what the workers of a run have said last; those of a run that has ended are forgotten.

    Raises:
        StoreError: Redis failed.
    """
    found = []
    for worker, facts in sorted(store.worker_statuses(run).items()):
        with damaged(f"a sign, of the worker {worker},"):
            found.append(strict_json.read(WorkerStatus, strict_json.dumps({"worker": worker, **facts})))
    return found


def gpu_seconds(store: Store, run: str) -> float | None:
    """Return for how long the workers of a run have held GPUs, loading and idling included, to `SIGN_SECONDS` each.

    A worker that is gone is counted up to its last sign. None where no worker has said how long it has lived, as in an
    import, or where the signs cannot be read.

    Raises:
        StoreError: Redis failed.
    """
    try:
        told = worker_statuses(store, run)
    except DamagedError:
        return None
    lived = [
        worker.gpus * (worker.seconds + min(worker.age, SIGN_SECONDS)) for worker in told if worker.seconds is not None
    ]
    return round(sum(lived), 3) if lived else None
