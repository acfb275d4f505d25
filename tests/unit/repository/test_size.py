"""No file, function or folder grows beyond what a reader holds in mind at once."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("cluster", "distill", "gallon", "teacher")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
FILE_LINES, FUNCTION_LINES, FOLDER_MODULES = 400, 60, 14


def functions(file: Path) -> dict[str, int]:
    """Return the functions of a file, and how many lines each has but for its docstring."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            docstring = node.body[0] if ast.get_docstring(node) else None
            told = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
            found[node.name] = max(found.get(node.name, 0), node.end_lineno - node.lineno + 1 - told)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_are_short(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= FILE_LINES
    assert not {name for name, lines in functions(file).items() if lines > FUNCTION_LINES}


def test_folders_are_small() -> None:
    modules = Counter(file.parent for file in FILES if file.name not in {"__init__.py", "__main__.py"})
    assert not {str(folder.relative_to(ROOT)): count for folder, count in modules.items() if count > FOLDER_MODULES}
