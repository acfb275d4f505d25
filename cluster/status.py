"""What the store holds, for people and for programs."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from cluster.store import Store

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
    runs = list(store.runs().items())[-RUNS_SHOWN:]
    return {"specs": specs, "runs": [_run(store, run, facts) for run, facts in runs]}


def _run(store: Store, run: str, facts: dict[str, Any]) -> dict[str, Any]:
    counted = store.progress(run)
    rows, invalid = store.rows_read(run, len(facts["sources"]))
    seconds = facts.get("finished", time.time()) - facts["started"]
    finished = counted["accepted"] + counted["dead"]
    rate = finished / seconds if seconds else 0.0
    left = counted["todo"] - finished
    return {
        "run": run,
        "spec": facts["spec"],
        "state": facts["state"],
        "started": datetime.fromtimestamp(facts["started"], UTC).isoformat(timespec="seconds"),
        "host": facts["host"],
        "rows": rows,
        "invalid": invalid,
        "new": counted["accepted"],
        "new_dead": counted["dead"],
        "pending": left,
        "molecules_per_second": round(rate, 2),
        "eta_seconds": round(left / rate) if rate and facts["state"] == "running" else None,
    }
