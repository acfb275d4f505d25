"""The tutorials run from their first cell to their last.

They share a store, so that molecules that one of them has annotated are not annotated again by the next: of the four
engines that a reader starts, three are started here.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.support.notebooks import TUTORIALS, execute

IN_ORDER = ("chemist", "compare-specs", "active-selection", "own-prompt")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder for all of them, with the default store."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", IN_ORDER)
def test_a_tutorial_runs(name: str, tmp_path: Path, home: Path) -> None:
    executed = execute(TUTORIALS / f"{name}.ipynb", tmp_path, home)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")


def test_every_tutorial_is_run() -> None:
    assert {notebook.stem for notebook in TUTORIALS.glob("*.ipynb")} == set(IN_ORDER)


def test_tutorials_are_stored_with_their_outputs_and_nothing_of_a_machine() -> None:
    for notebook in TUTORIALS.glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        cells = nbformat.reads(text, as_version=4).cells
        assert any(cell.cell_type == "code" and cell.outputs for cell in cells), notebook.name
        assert not [each for each in ("/home/", "/root/", "/tmp/", "Traceback") if each in text], notebook.name
