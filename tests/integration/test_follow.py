"""`gallon status --follow`: what it sees of a run in another process, and how it draws it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cluster.runs.status import RunMonitor, RunSnapshot, status
from cluster.store.store import Store
from gallon.cli.follow import view

POISON = "CCCCCCCCCCCC"
MOLECULES = [f"{'C' * number}O" for number in range(1, 60)]


@pytest.fixture
def running(store: Store, ray_address: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that takes its time, and one of whose molecules kills the engine."""
    library = tmp_path / "library.smi"
    library.write_text("\n".join([POISON, *MOLECULES]))
    command = [sys.executable, "-m", "tests.support.drive", str(library), store.url, "--ray", ray_address]
    process = subprocess.Popen([*command, "--delay=0.5", "--concurrency=2", f"--poison={POISON}"])
    yield process
    process.terminate()
    process.wait(60)


def seen(look: Callable[[], list[RunSnapshot]], enough: Callable[[RunSnapshot], bool]) -> RunSnapshot:
    """Look again and again until a run is there of which enough is known."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        for run in look():
            if enough(run):
                return run
        time.sleep(0.5)
    raise AssertionError("nothing was seen of the run")


def drawn(runs: list[RunSnapshot]) -> str:
    """Return the view as text."""
    console = Console(record=True, width=160, file=StringIO())
    console.print(view(runs, time.time()))
    return console.export_text()


def test_a_run_is_followed_from_another_process(running: subprocess.Popen[bytes], store: Store):
    follower = RunMonitor(store)
    run = seen(follower.snapshot, lambda run: run.progress.rate > 0 and any(sign.deaths for sign in run.workers))
    assert run.facts["state"] == "running"
    assert run.progress.todo <= len(MOLECULES) + 1
    assert run.errors[0][1]
    text = drawn([run])
    assert f"Run {run.run}" in text
    assert "scripted, describe v1" in text
    assert run.workers[0].worker in text
    assert run.errors[0][1][:40] in text
    (shown,) = status(store)["runs"]
    assert shown["state"] == "running"
    assert shown["workers"][0]["worker"] == run.workers[0].worker
    running.terminate()
    assert running.wait(120) == 0
    assert follower.snapshot() == []
    assert store.worker_statuses(run.run) == {}
    assert status(store)["runs"][0]["state"] == "interrupted"


def test_a_run_that_was_killed_is_lost(running: subprocess.Popen[bytes], store: Store):
    seen(RunMonitor(store).snapshot, lambda run: bool(run.workers))
    running.kill()
    store.stop_heartbeat(*store.alive())  # instead of waiting for a minute
    assert status(store)["runs"][0]["state"] == "lost"


def test_nothing_to_follow_is_said():
    assert "No run is alive" in drawn([])


def test_on_a_terminal_it_draws_until_it_is_interrupted(store: Store):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "gallon", "status", "--follow", "--store", store.url]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    output = b""
    while b"No run is alive" not in output:
        output += os.read(leader, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    os.close(leader)


def test_in_a_pipe_it_is_one_sentence(store: Store):
    command = [sys.executable, "-m", "gallon", "status", "--follow", "--store", store.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "draws on a terminal" in done.stderr
