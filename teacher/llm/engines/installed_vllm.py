"""What the vLLM that is installed here knows, read from its source: to import it takes many seconds."""

from __future__ import annotations

import ast
import functools
from importlib.util import find_spec
from pathlib import Path

from teacher.errors import UsageError


@functools.cache
def known_arguments() -> frozenset[str]:
    """Return the names of vLLM's engine arguments.

    Raises:
        UsageError: vLLM is not installed.
    """
    tree = _source("engine", "arg_utils.py", told="its engine arguments")
    return frozenset(
        statement.target.id
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name in {"EngineArgs", "AsyncEngineArgs"}
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    )


@functools.cache
def known_parsers() -> frozenset[str]:
    """Return the names of vLLM's reasoning parsers.

    Raises:
        UsageError: vLLM is not installed.
    """
    return frozenset(
        key.value
        for node in ast.walk(_source("reasoning", "__init__.py", told="its reasoning parsers"))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    )


def _source(*path: str, told: str) -> ast.Module:
    found = find_spec("vllm")
    if found is None or found.origin is None:
        raise UsageError(f"vLLM is not installed here, so {told} are not known.")
    return ast.parse(Path(found.origin).parent.joinpath(*path).read_text(encoding="utf-8"))
