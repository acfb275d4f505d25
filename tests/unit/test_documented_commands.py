"""Every `gallon` command line that the READMEs show is one that the command takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from gallon.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
READMES = [ROOT / "README.md", *sorted((ROOT / "deploy").glob("*/README.md"))]
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
BLOCK = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
CALL = re.compile(r"(?:^|[\s'])(?<!-n )gallon +([a-z].*)")  # kubectl's -n names a namespace


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of `gallon` in a README, with numbers in the place of N."""
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(code.split()) for code in INLINE.findall(BLOCK.sub("", text))]
    for line in lines:
        if call := CALL.search(line.partition(" #")[0]):
            shown = re.sub(r"[\[\]]|\.\.\.|'$", "", call[1])
            yield ["100" if word == "N" else word for word in shlex.split(shown)]


SHOWN = [
    pytest.param(words, id=f"{readme.parent.name} {' '.join(words)}")
    for readme in READMES
    for words in command_lines(readme.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("words", SHOWN)
def test_a_documented_command_line_is_understood(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text("limit: 10\n")
    verb, *arguments = words
    assert verb in VERBS
    if arguments not in ([], ["--config", "run.yaml"], ["--deep"]):  # where a README speaks of a command, or an option
        VERBS[verb].make_context(verb, arguments)


def test_command_lines_are_found_and_mistakes_in_them_too() -> None:
    found = list(command_lines("```sh\nx -- gallon screen a \\\n  --student s # word\n```\n`gallon demo --limit\n20`"))
    assert found == [["screen", "a", "--student", "s"], ["demo", "--limit", "20"]]
    with pytest.raises(Exception, match="greater than or equal to 50"):
        VERBS["demo"].make_context("demo", ["--limit", "20"])
    with pytest.raises(Exception, match="Missing parameter: out"):
        VERBS["screen"].make_context("screen", ["a", "--student", "s"])
    assert len(SHOWN) > 40
