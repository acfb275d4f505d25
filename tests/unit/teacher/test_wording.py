"""What the project says agrees with the numbers in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from teacher.wording import counted

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("teacher", "cluster", "distill", "gallon")
NOUN = re.compile(r" (?!allows\b)[a-z]+s\b(?!/)")
# Where the number is more than one, or the noun belongs to several numbers.
ALWAYS_MANY = {
    ("teacher/chemistry/molecule.py", "bytes"),
    ("teacher/chemistry/bounds.py", "rings"),
    ("teacher/chemistry/bounds.py", "neighbours"),
    ("cluster/store/record.py", "bytes"),
    ("cluster/annotation/annotator.py", "times"),
    ("distill/data/splits.py", "molecules"),
    ("distill/features/fit_crippen.py", "molecules"),
}
PLURAL_ON_A_PAGE = re.compile(r"\}\}\s+(?!is\b|was\b|leaves\b|reads\b)([a-z]+s)\b")
ALWAYS_MANY_ON_A_PAGE = {"targets"}  # the first 20 of so many targets


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_000_000, "1,000,000 rows")]
)
def test_a_noun_agrees_with_its_number(number: int, said: str) -> None:
    assert counted(number, "row") == said


def test_an_irregular_plural_is_given() -> None:
    assert counted(2, "fit of the encoder", "fits of the encoder") == "2 fits of the encoder"


def plurals_after_numbers(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the noun of every f-string that puts a plural after something that it fills in as a number."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in pairwise(node.values):
            counts = isinstance(value, ast.FormattedValue) and (
                (value.format_spec is not None and "," in ast.unparse(value.format_spec))
                or (isinstance(value.value, ast.Call) and ast.unparse(value.value.func) == "len")
            )
            if counts and isinstance(text, ast.Constant) and (found := NOUN.match(str(text.value))):
                yield node.lineno, found[0].strip()


def test_no_message_puts_a_plural_after_a_number_that_may_be_one() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py") if "tiny" not in file.parts]
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: {noun}"
        for file in files
        for line, noun in plurals_after_numbers(file.read_text())
        if (str(file.relative_to(ROOT)), noun) not in ALWAYS_MANY
    ]
    assert wrong == []


def test_no_page_puts_a_plural_after_a_number_that_may_be_one() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}: {noun}"
        for file in (ROOT / "distill").rglob("*.j2")
        for noun in PLURAL_ON_A_PAGE.findall(file.read_text())
        if noun not in ALWAYS_MANY_ON_A_PAGE
    ]
    assert wrong == []


def test_the_search_for_plurals_finds_them() -> None:
    assert [noun for _, noun in plurals_after_numbers("f'{n:,} rows'; f'{len(a)} files'; f'{r:,.1f} molecules/s'")] == [
        "rows",
        "files",
    ]
