"""Two real engines on the CPU of one cluster that was started by hand: `gallon annotate --workers 2`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.store.open import open_store
from tests.chaos.machines import OneMachine


@pytest.fixture
def cluster() -> Iterator[OneMachine]:
    machine = OneMachine()
    yield machine
    machine.close()


@pytest.mark.timeout(600)
def test_two_workers_on_a_cluster_start_two_engines_that_both_annotate(cluster: OneMachine, tmp_path: Path) -> None:
    library, store = tmp_path / "alkanols.smi", tmp_path / "store"
    library.write_text("".join(f"{'C' * number}O\n" for number in range(1, 41)))
    command = [str(Path(sys.executable).with_name("gallon")), "annotate", str(library), "--store", str(store)]
    command += ["--ray", cluster.address, "--workers", "2", "--kv-cache-gib", "0.25", "--json"]
    environment = {**os.environ, **cluster.environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    ledger = json.loads(done.stdout.splitlines()[-1])
    assert (ledger["accepted"] + ledger["dead"], ledger["pending"]) == (40, 0)
    assert len(list(cluster.logs.glob("vllm-*.log"))) == 2
    with open_store(str(store)) as opened:
        assert opened.counts(ledger["spec"]).accepted == ledger["accepted"]
