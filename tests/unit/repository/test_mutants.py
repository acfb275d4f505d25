"""The list of mutants fits the code: each can be put into it, and has tests that are there."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.mutants.catalog import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_put_into_the_code_and_has_its_tests(mutant: Mutant) -> None:
    mutated = mutant.mutate((ROOT / mutant.file).read_text())
    if mutant.file.endswith(".py"):
        ast.parse(mutated)
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / file).read_text()


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1
