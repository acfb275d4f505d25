"""The tests lie where a reader looks for them, and none imports another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
UNIT = TESTS / "unit"
OF_NO_PACKAGE = {Path("deploy"), Path("repository")}
FILES = sorted(TESTS.rglob("test_*.py"))


def test_unit_tests_lie_in_folders_as_the_packages_have_them() -> None:
    folders = {file.parent.relative_to(UNIT) for file in UNIT.rglob("test_*.py")} - OF_NO_PACKAGE
    assert folders
    assert all((TESTS.parent / folder / "__init__.py").is_file() for folder in folders), folders


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TESTS)))
def test_no_test_imports_another(file: Path) -> None:
    """What two of them need is in tests/support, or a fixture of tests/conftest.py."""
    assert not re.search(r"^\s*(?:from|import) tests\.(?:unit|integration|conftest|\S*test_)", file.read_text(), re.M)
