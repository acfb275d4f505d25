"""One run in the store's book: how it began, how it stands, how it ended."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from cluster.record import Ledger
from cluster.store import Store
from teacher.spec import Spec


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

    def end(self, state: Literal["finished", "interrupted"]) -> Ledger:
        """Write down how the run ended, drop what only a run in progress needs, and return the ledger of its rows."""
        ledger = self._store.ledger(self._spec.id, self.id, self._sources, round(time.time() - self.started, 3))
        facts = {**self._facts, "state": state, "finished": time.time(), "ledger": asdict(ledger)}
        self._store.keep_run(self.id, facts)
        self._store.forget_members(self.id)
        return ledger

    def fail(self, reason: str) -> None:
        """Write down why the run failed."""
        self._store.keep_run(self.id, {**self._facts, "state": "failed", "finished": time.time(), "reason": reason})
