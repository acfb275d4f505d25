"""How the command ends, and how it shows what it takes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gallon.cli.app import INTERRUPTED, KEPT, app, main, stoppable


def test_whoever_interrupts_a_command_is_told_what_is_kept_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gallon.api.learning.teach", interrupted)
    monkeypatch.setattr(sys, "argv", ["gallon", "teach", "data.csv", "--target", "y"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == INTERRUPTED
    assert said == "Stopped: finished fits are kept, and the same command goes on from there.\n"


def test_what_is_kept_is_said_of_commands_that_there_are() -> None:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert KEPT.keys() <= commands.keys()

    def other() -> None:
        """Keep nothing."""

    assert stoppable(other) is other


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["teach"], "teach [OPTIONS] DATA"),
        (["annotate"], "annotate [OPTIONS] LIBRARY..."),
        (["report", "-h"], "report [OPTIONS] [RUN]"),
        (["batch", "read"], "batch read [OPTIONS] RESULTS..."),
    ],
)
def test_the_usage_line_names_arguments_in_capitals(words: list[str], usage: str) -> None:
    said = next(line for line in CliRunner().invoke(app, words).output.splitlines() if "Usage:" in line)
    assert said.split(maxsplit=2)[2].strip() == usage


def test_a_command_ends_without_a_last_search_for_garbage() -> None:
    done = _version_after("atexit.register(lambda: print(gc.get_freeze_count() > 0))")
    assert done.stdout.splitlines()[1] == "True"


def test_a_command_that_has_loaded_pyg_ends_without_a_word_of_leaks() -> None:
    assert not _version_after("import torch_geometric.nn").stderr


def _version_after(line: str) -> subprocess.CompletedProcess[str]:
    """Run `gallon --version` in a process that has run a line of code before."""
    code = f"""
import atexit, gc, sys
{line}
from gallon.cli.app import main
sys.argv = ["gallon", "--version"]
main()
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
