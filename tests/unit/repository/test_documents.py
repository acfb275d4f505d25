"""The documents: what they link to is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def documents() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return listed.split() or [str(file.relative_to(ROOT)) for file in ROOT.glob("[!.]*/**/*.md")]


@pytest.mark.parametrize("document", documents())
def test_what_a_document_links_to_is_there(document: str) -> None:
    place = ROOT / document
    linked = [link for link in LINK.findall(place.read_text()) if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in linked if not (place.parent / link).exists()] == []
