"""What the user sees on the terminal and in a pipe."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import partial

import pytest
from rich.console import Console

from cluster.runs.progress import Progress
from cluster.runtime.session import token_place
from cluster.training.driver import FitProgress
from gallon import show
from gallon.show import bar, columns, counter, live_line, print_table
from teacher.wording import plain

HALFWAY = Progress(rows=1, total_rows=2, todo=1, accepted=0, dead=0, rate=0.0, token_rate=0.0)
DISPLAYS = [
    (live_line, HALFWAY, "annotation: 1 row read, 1 molecule to annotate; starting the engine"),
    (partial(bar, what="teachers"), FitProgress(1, 2), "teachers: 1 of 2, 0 min 00 s left"),
    (partial(counter, what="screening"), 1, "screening: 1 row, "),
]


@pytest.mark.parametrize(("display", "step", "line"), DISPLAYS)
def test_in_a_pipe_progress_is_one_line_a_phase_and_one_now_and_then(
    monkeypatch: pytest.MonkeyPatch, display: Callable, step: object, line: str
) -> None:
    pipe = io.StringIO()
    with display(Console(file=pipe, soft_wrap=True)) as tell:
        tell(step)  # too soon
        monkeypatch.setattr(show, "PLAIN_SECONDS", 0.0)
        tell(step)
    phase = line.partition(":")[0]
    first, second, last = pipe.getvalue().splitlines()
    assert first == f"{phase}: started"
    assert second.startswith(line)
    assert last == f"{phase}: done in 0 min 00 s"


def test_a_phase_that_fails_is_not_said_to_be_done() -> None:
    pipe = io.StringIO()
    with pytest.raises(ZeroDivisionError), bar(Console(file=pipe), "teachers"):
        raise ZeroDivisionError
    assert pipe.getvalue() == "teachers: started\n"


@pytest.mark.parametrize(("display", "step", "_"), DISPLAYS)
def test_what_libraries_write_to_standard_error_does_not_get_onto_the_display(
    display: Callable, step: object, _: str
) -> None:
    terminal = io.StringIO()
    with display(Console(file=terminal, force_terminal=True)) as tell:
        tell(step)
        sys.stderr.write("chatter\n")
        sys.stdout.write("chatter\n")
    assert terminal.getvalue()
    assert "chatter" not in terminal.getvalue()


def test_truth_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Recount", {"rows": 1_000, "ok": True, "complete": False, "defects": None})
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown == [["Recount"], ["rows", "1,000"], ["ok", "yes"], ["complete", "no"]]


def test_tabs_part_columns_and_stand_in_none() -> None:
    assert columns(["a\tb", "c"]) == "a\\tb\tc"


def test_what_an_llm_wrote_cannot_steer_the_terminal() -> None:
    assert plain("a\x1b[31mred\x07\n") == "a\\x1b[31mred\\x07\\n"


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"RAY_AUTH_MODE": "token"}, "~/.ray/auth_token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/run/token"}, "/run/token"),
        (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/run/token", "RAY_AUTH_TOKEN": "secret"},
            "the environment variable RAY_AUTH_TOKEN",
        ),
        ({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": "/run/token"}, None),
        ({}, None),
    ],
)
def test_where_the_dashboards_token_lies_is_told_and_never_the_token(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], place: str | None
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert token_place() == place
