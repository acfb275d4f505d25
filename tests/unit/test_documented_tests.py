"""The tests that `tests/README.md` names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
NAMED = re.findall(r"`((?:unit|integration|chaos)/test_\w+\.py)(?:::(test_\w+))?`", (TESTS / "README.md").read_text())


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_documented_test_is_there(file: str, test: str) -> None:
    text = (TESTS / file).read_text()
    assert f"def {test}(" in text if test else "def test_" in text


def test_there_are_documented_tests() -> None:
    assert len(NAMED) > 50
