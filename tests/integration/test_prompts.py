"""What `gallon prompt show` prints is what the engine is asked."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import gallon
from gallon.api.spec import resolve_spec
from gallon.cli.app import app
from gallon.config import SpecConfig
from teacher.errors import UsageError
from teacher.llm.engine import VllmEngine
from teacher.llm.request import build_request


def test_the_prompt_is_shown_to_the_token(tiny_engine: VllmEngine) -> None:
    shown = gallon.show_prompt("OCC")
    resolved = resolve_spec(SpecConfig())
    request, _ = build_request("CCO", b"key", resolved.spec, resolved.prompt)
    assert shown.tokens == tiny_engine.submit(request).result(timeout=120).prompt_tokens
    assert "SMILES: CCO" in shown.text and "<image> x 16" in shown.text and shown.text.count("<image>") == 1
    blind = gallon.show_prompt("OCC", image=False, graph=True)
    assert "<image>" not in blind.text and blind.tokens < shown.tokens + 50
    with pytest.raises(UsageError, match=r"'nothing' .*: give another SMILES"):
        gallon.show_prompt("nothing")


def test_the_command_prints_the_prompt_and_lists_those_there_are() -> None:
    shown = CliRunner().invoke(app, ["prompt", "show", "gallon", "--task", "soluble?", "--molecule", "CCO", "--json"])
    assert shown.exit_code == 0 and "soluble?" in json.loads(shown.stdout.splitlines()[-1])["text"]
    listed = CliRunner().invoke(app, ["prompt", "list"])
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["describe", "gallon"]
