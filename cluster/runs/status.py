"""What the store holds, for people and for programs."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from cluster.runs.progress import Progress, ProgressMeter
from cluster.runs.workers import WorkerStatus, gpu_seconds, worker_statuses
from cluster.store.record import Counts
from cluster.store.store import Store
from cluster.store.stored import damaged, ledger_of
from teacher.llm.spec import Spec

RUNS_SHOWN = 5


def status(store: Store) -> dict[str, Any]:
    """Return the ledger of every spec and how the latest runs stand, ready for JSON."""
    specs = []
    for spec_id, spec in store.specs().items():
        counts = store.counts(spec_id)
        specs.append(
            {
                "spec": spec_id,
                "model": spec.model.name,
                "revision": spec.model.revision,
                "prompt": f"{spec.prompt.name} v{spec.prompt.version}",
                "molecules": counts.molecules,
                **asdict(counts),
            }
        )
    alive = store.alive()
    runs = list(store.runs().items())[-RUNS_SHOWN:]
    return {"specs": specs, "runs": [_run(store, run, facts, run in alive) for run, facts in runs]}


def _run(store: Store, run: str, facts: dict[str, Any], alive: bool) -> dict[str, Any]:
    state = _state(facts["state"], alive)
    counted = asdict(ledger_of(facts)) if "ledger" in facts and state != "running" else _counted(store, run, facts)
    rate = (counted["new"] + counted["new_dead"]) / counted["seconds"] if counted["seconds"] > 0 else 0.0
    left = _progress(counted, facts.get("total_rows"), rate).eta_seconds if alive else None
    return {
        "run": run,
        "spec": facts["spec"],
        "state": state,
        "started": datetime.fromtimestamp(facts["started"], UTC).isoformat(timespec="seconds"),
        "host": facts["host"],
        "total_rows": facts.get("total_rows"),
        **{name: counted[name] for name in ("rows", "invalid", "new", "new_dead", "pending", "gpu_seconds")},
        "molecules_per_second": round(rate, 2),
        "eta_seconds": None if left is None else round(left),
        "workers": [asdict(sign) for sign in worker_statuses(store, run)] if alive else [],
    }


def _counted(store: Store, run: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Count how a run stands that has not ended; what is pending is what it found to do, not what others do for it."""
    moved = store.progress(run)
    rows, invalid = store.rows_read(run, len(facts["sources"]))
    new, new_dead = moved["accepted"], moved["dead"]
    pending = moved["todo"] - new - new_dead
    seconds = facts.get("finished", time.time()) - facts["started"]
    counts = {"rows": rows, "invalid": invalid, "new": new, "new_dead": new_dead, "pending": pending}
    return {**counts, "seconds": seconds, "gpu_seconds": gpu_seconds(store, run)}


def _progress(counted: dict[str, Any], total_rows: int | None, rate: float) -> Progress:
    """Return how far a run is, at the rate that it has had from its beginning."""
    new, new_dead = counted["new"], counted["new_dead"]
    todo = counted["pending"] + new + new_dead
    return Progress(
        rows=counted["rows"],
        total_rows=total_rows,
        todo=todo,
        accepted=new,
        dead=new_dead,
        rate=rate,
        token_rate=0.0,
    )


def _state(noted: str, alive: bool) -> str:
    """Tell how a run stands: one that gives signs of life is not lost, whatever another run took it for."""
    if noted in {"running", "lost"}:
        return "running" if alive else "lost"
    return noted


@dataclass(frozen=True, kw_only=True)
class RunSnapshot:
    """A run that is alive, at one moment.

    Attributes:
        run, facts: its id, and what the store knows of it.
        spec: what it annotates under, and `counts` how the molecules of that spec stand.
        progress: how far it is, and how fast.
        workers: what its workers have said last.
    """

    run: str
    facts: dict[str, Any]
    spec: Spec
    counts: Counts
    progress: Progress
    workers: list[WorkerStatus]

    @property
    def errors(self) -> list[tuple[float, str]]:
        """The last errors of all workers, the latest first."""
        return sorted((error for worker in self.workers for error in worker.errors), reverse=True)


class RunMonitor:
    """Looks at the runs that are alive, again and again; what it has seen before tells how fast they are."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._meters: dict[str, ProgressMeter] = {}

    def snapshot(self) -> list[RunSnapshot]:
        """Return the runs that are alive.

        Raises:
            StoreError: Redis failed.
        """
        alive, specs = self._store.alive(), self._store.specs()
        runs = {run: facts for run, facts in self._store.runs().items() if run in alive}
        self._meters = {
            run: self._meters.get(run) or ProgressMeter(self._store, run, len(facts["sources"]))
            for run, facts in runs.items()
        }
        with damaged("a run of an unknown spec,"):
            return [self._followed(run, facts, specs[facts["spec"]]) for run, facts in runs.items()]

    def _followed(self, run: str, facts: dict[str, Any], spec: Spec) -> RunSnapshot:
        meter = self._meters[run]
        meter.total_rows = facts.get("total_rows")
        return RunSnapshot(
            run=run,
            facts=facts,
            spec=spec,
            counts=self._store.counts(spec.id),
            progress=meter.measure(),
            workers=worker_statuses(self._store, run),
        )
