"""The `gallon` command, in a process of its own or in that of the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import typer

from gallon.cli.app import app

COMMAND = [sys.executable, "-m", "gallon"]


@dataclass(frozen=True, slots=True)
class Done:
    """How a command in this process ended, and what it wrote."""

    status: int
    out: str
    err: str


class CommandHere(Protocol):
    """Calls the command in this process, as quickly as an import has it."""

    def __call__(self, *arguments: str | Path, store: Path | str) -> Done: ...


def call(*arguments: str | Path, store: Path | str) -> subprocess.CompletedProcess[str]:
    """Call the command in a process of its own."""
    environment = {**os.environ, "GALLON_STORE": str(store), "COLUMNS": "200"}
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=550)


def last_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the object that a command has written with `--json`."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def every_command() -> dict[str, Any]:
    """Return all commands as Typer builds them, those of groups too, by the words that call them."""
    return dict(_leaves(typer.main.get_command(app)))


def _leaves(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{before}{word} ")
        else:
            yield f"{before}{word}", command
