"""What commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.runtime.session import token_place
from distill.learn.teach import Trained
from gallon.cli.output import columns, print_table, print_trained
from teacher.wording import plain


def test_truth_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Recount", {"rows": 1_000, "ok": True, "complete": False, "defects": None})
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown == [["Recount"], ["rows", "1,000"], ["ok", "yes"], ["complete", "no"]]


def test_no_path_is_cut_or_broken_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("models of the group") / ("long" * 30) / "student"
    scores = {part: {"rmse": 1.0, "mae": 1.0, "r2": 0.5} for part in ("train", "valid", "test")}
    name = "student-fingerprint, mean of 2 seeds"
    print_trained([Trained(name=name, path=path, metrics=scores, best_epoch=1, seconds=1.0)])
    print_table("Packed", {"path": path})
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line.endswith(str(path)) for line in lines] == [False, True, False, False, False, True]


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
