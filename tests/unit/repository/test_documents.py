"""The documents: what they link to is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.command import every_command

ROOT = Path(__file__).parents[3]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")

PLACE = re.compile(r"`((?:cluster|deploy|distill|docs|gallon|teacher|tests)/[\w./-]+)`")
RULE = re.compile(r"\|[\s:|-]+\|")  # below the head of a table


def documents() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return listed.split() or [str(file.relative_to(ROOT)) for file in ROOT.glob("[!.]*/**/*.md")]


@pytest.mark.parametrize("document", documents())
def test_what_a_document_links_to_is_there(document: str) -> None:
    place = ROOT / document
    linked = [link for link in LINK.findall(place.read_text()) if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in linked if not (place.parent / link).exists()] == []


@pytest.mark.parametrize("document", documents())
def test_the_files_of_the_repository_that_a_document_names_are_there(document: str) -> None:
    assert [place for place in PLACE.findall((ROOT / document).read_text()) if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("document", documents())
def test_no_blank_line_cuts_a_table_in_two(document: str) -> None:
    lines = [*(ROOT / document).read_text().splitlines(), "", ""]
    headless = [
        number
        for number, line in enumerate(lines[1:-1], 2)
        if line.startswith("|") and not lines[number - 2].startswith("|") and not RULE.fullmatch(lines[number])
    ]
    assert headless == []


def test_every_command_has_a_line_in_the_reference() -> None:
    table = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    linked = set(re.findall(r"\(#gallon-([\w-]+)\)", table))
    names = {words.replace(" ", "-") for words in every_command()}
    assert linked == names
