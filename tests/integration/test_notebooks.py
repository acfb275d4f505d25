"""The tutorials run from their first cell to their last.

They share a store, so that molecules that one of them has annotated are not annotated again by the next: of the four
engines that a reader starts, three are started here.
"""

from __future__ import annotations

from pathlib import Path

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


def test_nothing_of_a_machine_is_stored_in_a_tutorial() -> None:
    for notebook in TUTORIALS.glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        assert not [each for each in ("/home/", "/root/", "/tmp/", "Traceback", "\\u001b") if each in text], (
            notebook.name
        )
