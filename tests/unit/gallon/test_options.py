"""What users may set is read by the command that lets them set it."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from typer.testing import CliRunner

import gallon
from gallon.cli.app import app

SOURCES = Path(gallon.__file__).parent
COMMANDS = {command.callback.__name__: command.callback for command in app.registered_commands}
READ_BY_CALLBACK = {"config"}  # before the command runs

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_the_command_says_its_version() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.output) == (0, f"gallon {version('gallon')}\n")
    assert CliRunner().invoke(app, ["annotate", "-h"]).exit_code == 0


def functions() -> dict[str, list[Function]]:
    """Return all functions and methods of the command line, by name."""
    found = defaultdict(list)
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                found[node.name].append(node)
    return found


def words(node: ast.AST) -> Iterator[str]:
    """Yield the names and attributes that a function reads."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield f".{inner.attr}"


def read_by(command: str) -> set[str]:
    """Return what a command reads, itself or in the functions of the command line that it calls by their names."""
    known, read, left = functions(), set(), [command]
    while left:
        for node in known.pop(left.pop(), []):
            for statement in node.body:
                found = set(words(statement))
                read |= found
                left += [word.removeprefix(".") for word in found]
    return read


def options(command: Callable[..., Any]) -> Iterator[str]:
    """Yield how a command reads each of its options: by name, or as the attribute of a group."""
    for name, hint in get_type_hints(inspect.unwrap(command)).items():
        if is_dataclass(hint):
            yield from (f".{field.name}" for field in fields(hint))
        elif name != "return":
            yield name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_read(command: str) -> None:
    unread = set(options(COMMANDS[command])) - read_by(command) - READ_BY_CALLBACK
    assert not unread
