"""Put one fault after the other into a copy of the project, and see tests fail: `python -m tests.mutants`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.mutants.catalog import MUTANTS, ROOT, Mutant

FAILED = 1  # pytest's exit status when tests failed; others say that nothing was tested
COPIED = ("cluster", "teacher", "distill", "gallon", "deploy", "tests", "pyproject.toml", "README.md", "docs")
LEFT = shutil.ignore_patterns("__pycache__", "results")


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Mutants to try; default: all.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Print the names, and try nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Try mutants, each with the tests that are to notice it; exit status 1 if one survives.

    The same tests must hold without any mutant first, or else their failing says nothing.
    """
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if listed:
        for mutant in chosen:
            typer.echo(mutant.name)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _copy_project(copy)
        tests = tuple(dict.fromkeys(test for mutant in chosen for test in mutant.tests))
        if _test(copy, tests) != 0:
            sys.exit("The tests fail without any mutant.")
        died = {mutant.name: _dies(mutant, copy) for mutant in chosen}
    survivors = [name for name, dead in died.items() if not dead]
    _show(chosen, died)
    if as_json:
        typer.echo(json.dumps({"mutants": len(died), "survivors": survivors}))
    sys.exit(bool(survivors))


def _copy_project(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=LEFT)
        elif source.exists():
            shutil.copy(source, folder / name)


def _dies(mutant: Mutant, copy: Path) -> bool:
    """Tell whether a test fails with a mutant in the copy."""
    file = copy / mutant.file
    text = file.read_text()
    file.write_text(mutant.mutate(text))
    try:
        dead = _test(copy, mutant.tests) == FAILED
    finally:
        file.write_text(text)
    sys.stderr.write(f"{'died' if dead else 'SURVIVED'}  {mutant.name}\n")
    return dead


def _test(copy: Path, tests: tuple[str, ...]) -> int:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=120", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False).returncode


def _show(mutants: list[Mutant], died: dict[str, bool]) -> None:
    table = Table("mutant", "in", "", title="Mutants")
    for mutant in mutants:
        table.add_row(mutant.name, mutant.file, "died" if died[mutant.name] else "survived")
    Console(stderr=True).print(table)


if __name__ == "__main__":
    typer.run(main)
