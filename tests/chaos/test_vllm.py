"""The real vLLM with the tiny model: its processes are killed while they work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.library.source import resolve
from cluster.records.completeness import verify
from cluster.records.integrity import audit
from cluster.store.open import open_store
from cluster.store.store import Store
from tests.chaos.scene import wait_until, write_library

ROWS = 120
CONCURRENCY = 16
IN_FLIGHT = 6 * 64


@pytest.fixture
def run(tmp_path: Path, ray_address: str) -> Iterator[subprocess.Popen[str]]:
    """`gallon annotate` on a small library."""
    library = tmp_path / "library.smi"
    write_library(library, ROWS)
    store = str(tmp_path / "store")
    command = [str(Path(sys.executable).with_name("gallon")), "annotate", str(library), "--store", store, "--json"]
    command += ["--ray", ray_address, "--renderers", "1"]
    command += ["--max-tokens", "200", "--concurrency", str(CONCURRENCY), "--kv-cache-gib", "0.25"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=os.environ)
    yield process
    process.kill()
    process.wait()


@pytest.mark.timeout(600)
def test_an_engine_whose_processes_are_killed_is_started_anew_and_nothing_is_lost(
    run: subprocess.Popen[str], tmp_path: Path
) -> None:
    with open_store(str(tmp_path / "store")) as store:
        wait_until(lambda: accepted(store) >= 10)
        child_of_an_annotator("spawn_main").kill()  # it makes the prompts
        seen = accepted(store)
        wait_until(lambda: accepted(store) >= seen + 10)
        child_of_an_annotator("EngineCore").kill()
        output, _ = run.communicate()
        ledger = json.loads(output.splitlines()[-1])
        assert run.returncode == 0
        assert ledger["rows"] == ledger["molecules"] + ledger["duplicates"] + ledger["invalid"] == ROWS
        assert ledger["molecules"] == ledger["accepted"] + ledger["dead"]
        (spec_id,) = store.specs()
        records = list(store.records(spec_id))
        assert len(records) == ledger["accepted"]
        again = [record for _, record in records if record.attempts > 1]
        assert 0 < len(again) <= 2 * IN_FLIGHT
        assert all(letter.stage != "engine" for _, letter in store.dead_letters(spec_id))
        assert verify(resolve([str(tmp_path / "library.smi")]), limit=None, spec_id=spec_id, store=store).ok
        assert list(audit(store, spec_id)) == []


def accepted(store: Store) -> int:
    return sum(store.counts(spec_id).accepted for spec_id in store.specs())


def child_of_an_annotator(name: str) -> psutil.Process:
    """Return a process that the annotator, which the tests' Ray has started, has started in turn."""
    processes = psutil.Process().children(recursive=True)
    annotators = [process for process in processes if "Annotator" in title(process)]
    (child,) = [child for one in annotators for child in one.children() if name in title(child)]
    return child


def title(process: psutil.Process) -> str:
    """Return a process's name and command line; nothing of one that has ended and waits for its parent to notice."""
    try:
        return process.name() + " ".join(process.cmdline())
    except psutil.ZombieProcess:
        return ""
