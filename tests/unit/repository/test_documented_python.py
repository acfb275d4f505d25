"""Every call of `gallon` in the Python that documents and notebooks show is one that the package takes."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gallon

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def sources() -> Iterator[tuple[str, str]]:
    """Yield the Python in each document."""
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]:
        for block in BLOCK.findall(document.read_text(encoding="utf-8")):
            yield str(document.relative_to(ROOT)), block
    for notebook in sorted((ROOT / "docs").glob("**/*.ipynb")):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"])
            for code in [text] if cell["cell_type"] == "code" else BLOCK.findall(text):
                yield str(notebook.relative_to(ROOT)), code


def calls() -> Iterator[Any]:
    for document, code in sources():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and re.fullmatch(r"gallon\.\w+", ast.unparse(node.func)):
                yield pytest.param(node, id=f"{document} {ast.unparse(node.func)}")


CALLS = list(calls())


@pytest.mark.parametrize("call", CALLS)
def test_a_documented_call_is_understood(call: ast.Call) -> None:
    name = ast.unparse(call.func).removeprefix("gallon.")
    assert name in gallon.__all__
    options = {keyword.arg: None for keyword in call.keywords if keyword.arg}
    inspect.signature(getattr(gallon, name)).bind(*call.args, **options)


def test_calls_are_found() -> None:
    assert len(CALLS) > 15
