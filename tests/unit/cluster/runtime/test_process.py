"""Whether a process has died, where /proc does not show those of other users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.runtime.process import Process


@pytest.fixture
def another() -> Iterator[Process]:
    """A process that waits until it is ended, as it says of itself."""
    say = "import json, dataclasses; from cluster.runtime.process import Process\n"
    say += "print(json.dumps(dataclasses.asdict(Process.own())), flush=True); input()"
    command = [sys.executable, "-c", say]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield Process(**json.loads(running.stdout.readline()))
        running.kill()


@pytest.fixture(params=[FileNotFoundError, PermissionError], ids=["hidepid=2", "hidepid=1"])
def hidden(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes be those of another user, and /proc mounted so that it hides them, in one way or the other."""
    Process.own()  # learns what this machine is called
    kill = os.kill

    def refuse(number: int, signal: int) -> None:
        kill(number, signal)
        raise PermissionError(number)

    def hide(path: Path, **_: str) -> str:
        raise request.param(str(path))

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(Path, "read_text", hide)


def test_a_process_that_the_machine_hides_is_not_taken_for_dead(another: Process, hidden: None) -> None:
    assert not another.has_died


def test_a_process_that_has_died_is_known_to_be_dead_where_others_are_hidden(another: Process, hidden: None) -> None:
    assert replace(another, number=2**22 + 1).has_died  # more than the number of any process
    assert replace(another, number=2**63).has_died  # as only somebody who writes into the store by hand can say


def test_a_process_of_another_user_is_alive_until_another_has_its_number(
    another: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int, _: int) -> None:
        raise PermissionError(number)

    monkeypatch.setattr(os, "kill", refuse)
    assert not another.has_died
    assert replace(another, began=another.began + 1).has_died


def test_a_process_that_nobody_has_waited_for_yet_is_dead(another: Process) -> None:
    os.kill(another.number, 9)
    os.waitid(os.P_PID, another.number, os.WEXITED | os.WNOWAIT)
    assert another.has_died
