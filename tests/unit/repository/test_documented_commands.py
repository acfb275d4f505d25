"""Every `gallon` command line that the documents show is one that the command takes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from gallon.cli.app import app

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "deploy").glob("*/README.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "docs").glob("**/*.ipynb")),
]
VERBS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
BLOCK = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
OPTION = re.compile(r"`(--[a-z][a-z-]*)[^`]*`")
INLINE = re.compile(r"`([^`]+)`")
QUOTED = re.compile(r"'gallon +([a-z][^']*)'")
CALL = re.compile(r"(?:^|\s)(?<!-n )gallon +([a-z].*)")  # kubectl's -n names a namespace


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of `gallon` in a document, with a number in the place of N or of `…`."""
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(code.split()) for code in INLINE.findall(BLOCK.sub("", text))]
    for line in (line.partition(" #")[0] for line in lines):
        if call := QUOTED.search(line) or CALL.search(line):
            shown = re.sub(r"[\[\]]|\.\.\.", "", call[1])
            yield ["100" if word in ("N", "…") else word for word in shlex.split(shown)]


def text_of(document: Path) -> str:
    """Return a document as Markdown; of a notebook, its cells with text."""
    text = document.read_text(encoding="utf-8")
    if document.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


SHOWN = [
    pytest.param(words, id=f"{document.relative_to(ROOT)} {' '.join(words)}")
    for document in DOCUMENTS
    for words in command_lines(text_of(document))
]


@pytest.mark.parametrize("words", SHOWN)
def test_a_documented_command_line_is_understood(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text("limit: 10\n")
    verb, *arguments = words
    assert verb in VERBS
    if arguments not in ([], ["--config", "run.yaml"], ["--deep"]):  # a command or an option that is only mentioned
        VERBS[verb].make_context(verb, arguments)


def test_an_option_that_documents_mention_is_one_of_a_command() -> None:
    verbs = [verb for each in VERBS.values() for verb in getattr(each, "commands", {"": each}).values()]
    known = {name for verb in verbs for option in verb.params for name in (*option.opts, *option.secondary_opts)}
    mentioned = {
        (str(document.relative_to(ROOT)), option)
        for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")))
        for option in OPTION.findall(BLOCK.sub("", text_of(document)))
    }
    assert len(mentioned) > 80
    assert [place for place in sorted(mentioned) if place[1] not in {*known, "--help", "--version"}] == []


def test_command_lines_are_found_and_mistakes_in_them_too() -> None:
    found = list(command_lines("```sh\nx -- gallon screen a \\\n  --student s # word\n```\n`gallon demo --limit\n20`"))
    assert found == [["screen", "a", "--student", "s"], ["demo", "--limit", "20"]]
    with pytest.raises(Exception, match="greater than or equal to 50"):
        VERBS["demo"].make_context("demo", ["--limit", "20"])
    with pytest.raises(Exception, match="Missing parameter: out"):
        VERBS["screen"].make_context("screen", ["a", "--student", "s"])
    assert len(SHOWN) > 100
