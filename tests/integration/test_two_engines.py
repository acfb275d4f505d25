"""Two real engines on the CPU of one cluster that runs already: `gallon annotate --workers 2`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.runtime.session import RaySession
from cluster.store.open import open_store


@pytest.mark.timeout(600)
def test_two_workers_on_a_cluster_start_two_engines_that_both_annotate(
    ray_here: RaySession, ray_address: str, tmp_path: Path
) -> None:
    before = set(ray_here.logs.glob("vllm-*.log"))
    library, store = tmp_path / "alkanols.smi", tmp_path / "store"
    library.write_text("".join(f"{'C' * number}O\n" for number in range(1, 41)))
    command = [str(Path(sys.executable).with_name("gallon")), "annotate", str(library), "--store", str(store)]
    command += ["--ray", ray_address, "--workers", "2", "--kv-cache-gib", "0.25", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ledger = json.loads(done.stdout.splitlines()[-1])
    assert (ledger["accepted"] + ledger["dead"], ledger["pending"]) == (40, 0)
    assert len(set(ray_here.logs.glob("vllm-*.log")) - before) == 2
    with open_store(str(store)) as opened:
        assert opened.counts(ledger["spec"]).accepted == ledger["accepted"]
