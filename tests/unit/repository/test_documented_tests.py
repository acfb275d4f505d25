"""The tests that `tests/README.md` and `docs/promises.md` name are there, and so are the mutants."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mutants.catalog import MUTANTS

TESTS = Path(__file__).parents[2]
PROMISES = (TESTS.parent / "docs" / "promises.md").read_text()
TEXT = (TESTS / "README.md").read_text() + PROMISES
NAMED = sorted(set(re.findall(r"`((?:unit|integration|chaos)/(?:\w+/)*test_\w+\.py)(?:::(test_\w+))?`", TEXT)))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_documented_test_is_there(file: str, test: str) -> None:
    text = (TESTS / file).read_text()
    assert f"def {test}(" in text if test else "def test_" in text


def test_there_are_documented_tests() -> None:
    assert len(NAMED) > 50


def test_every_mutant_stands_beside_a_promise_and_tests_that_the_promise_names() -> None:
    rows = [row.split("|")[1:4] for row in PROMISES.splitlines() if row.startswith("| ")]
    beside = {name: tests for _, tests, mutants in rows for name in re.findall(r"\*([^*]+)\*", mutants)}
    assert beside.keys() == {mutant.name for mutant in MUTANTS}
    for mutant in MUTANTS:
        assert any(test.removeprefix("tests/").partition("::")[0] in beside[mutant.name] for test in mutant.tests)
