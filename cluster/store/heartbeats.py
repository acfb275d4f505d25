"""Which runs are alive, how their workers are, and what is kept only as long as a run goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from cluster.runtime.process import Process
from cluster.store.calls import Calls
from cluster.store.connection import store_errors
from cluster.store.keys import (
    IDENTITY,
    LETTERS_SECONDS,
    RUN_SECONDS,
    SOONER_SECONDS,
    letters_key,
    while_running,
    whole_key,
    workers_key,
)
from cluster.store.stored import damaged
from teacher import strict_json


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life of a run: what it annotates, from which process, and until when it is taken to be alive.

    `until` is by the clock of Redis, in seconds since 1970, so that the clocks of several machines need not agree.
    """

    spec: str
    process: Process
    until: float

    def pack(self) -> str:
        """Return it as it is stored."""
        process = {"machine": self.process.machine, "process": self.process.number, "began": self.process.began}
        return json.dumps({"spec": self.spec, **process, "until": self.until})

    @classmethod
    def unpack(cls, packed: bytes) -> Heartbeat:
        """Read a stored one; where it was written by an older gallon, nothing is known of its machine.

        Raises:
            ValueError, KeyError: it is none.
        """
        fields = strict_json.read(dict[str, Any], packed)
        process = {"machine": fields.get("machine", ""), "number": fields["process"], "began": fields.get("began", 0)}
        return strict_json.read(cls, json.dumps({**fields, "process": process}))


class Heartbeats(Calls):
    """Signs of life of runs and of their workers."""

    def heartbeat(self, run: str, spec_id: str, process: Process, seconds: float) -> None:
        """Give a sign of life of a run, which counts for so many seconds."""
        with store_errors(self.url):
            heartbeat = Heartbeat(spec_id, process, self._now() + seconds)
            self._redis.hset("gallon:alive", run, heartbeat.pack())

    def stop_heartbeat(self, *runs: str) -> None:
        """Take runs for ended: what they had claimed may be claimed by others."""
        with store_errors(self.url):
            self._redis.hdel("gallon:alive", *runs)

    def heartbeats(self) -> dict[str, Heartbeat]:
        """Return the last sign of life of every run that has not stopped giving them, however old it is."""
        beats: dict[str, Heartbeat] = {}
        for run, packed in self._hash("gallon:alive").items():
            with damaged(f"a sign of life, of the run {run},"):
                beats[run] = Heartbeat.unpack(packed)
        return beats

    def alive(self, spec_id: str | None = None) -> dict[str, Heartbeat]:
        """Return the runs that are alive, those of one spec or all, with their last signs of life."""
        beats = self.heartbeats()
        now = self._now() if beats else 0.0
        return {
            run: heartbeat
            for run, heartbeat in beats.items()
            if heartbeat.until > now and spec_id in {None, heartbeat.spec}
        }

    # Workers

    def save_worker_status(self, run: str, worker: str, facts: dict[str, Any]) -> None:
        """Note what a worker of a run says of itself, and when."""
        with store_errors(self.url):
            said = json.dumps({**facts, "time": self._now()})
        key = workers_key(run)
        self._pipeline(lambda pipe: [pipe.hset(key, worker, said), pipe.expire(key, RUN_SECONDS)])

    def worker_statuses(self, run: str) -> dict[str, dict[str, Any]]:
        """Return what each worker of a run has said last, and as `age` how many seconds ago."""
        told = self._hash(workers_key(run))
        with store_errors(self.url):
            now = self._now() if told else 0.0
        said: dict[str, dict[str, Any]] = {}
        for worker, text in told.items():
            with damaged(f"a sign, of the worker {worker},"):
                facts = strict_json.read(dict[str, Any], text)
                said[worker] = {"age": max(0.0, now - facts.pop("time")), **facts}
        return said

    # What only a run in progress needs

    def renew(self, run: str, sources: int) -> None:
        """Let what a run has counted stay for another day. Whoever does so only ever makes it stay longer."""
        keys = while_running(run, sources)
        with store_errors(self.url):
            self._pipeline(lambda pipe: [pipe.expire(key, RUN_SECONDS) for key in keys])
            self._redis.expire(letters_key(run), LETTERS_SECONDS)
            self._redis.expire(whole_key(run), RUN_SECONDS - SOONER_SECONDS)

    def is_whole(self, run: str, identity: str) -> bool:
        """Tell whether this is still the store of this identity, with everything that a run has counted in it.

        It is not after the store was emptied or exchanged, or when nobody has renewed the run for a day.
        """
        found, whole = self._pipeline(lambda pipe: [pipe.get(IDENTITY), pipe.get(whole_key(run))])
        return bool(found == identity.encode() and whole)

    def forget_run(self, run: str, sources: int) -> None:
        """Drop what only a run in progress needs, and let the letters of its invalid rows expire."""
        keys = [*while_running(run, sources), whole_key(run)]
        self._pipeline(lambda pipe: [pipe.unlink(key) for key in keys])
        with store_errors(self.url):
            self._redis.expire(letters_key(run), LETTERS_SECONDS)
