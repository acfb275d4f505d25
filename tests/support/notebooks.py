"""The tutorials as notebooks: execute them, and store in them what they print.

    python -m tests.support.notebooks [NAME...]

executes the notebooks of `docs/tutorials`, each with a store of its own, and writes their outputs into them. Progress
and logs are left out, since they differ from run to run.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
SECONDS = 900  # for one cell: a model starts, which takes minutes on a busy machine
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LOG = re.compile(r"^.*\b(INFO|WARNING|ERROR)\b.*\n?", re.MULTILINE)


def execute(notebook: Path, folder: Path, home: Path) -> nbformat.NotebookNode:
    """Execute a notebook in a folder and return it with its outputs.

    Args:
        notebook: its file, which is left as it is.
        folder: where it runs.
        home: the home folder, with the default store, so that the user's own is left alone.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    book = nbformat.read(notebook, as_version=4)
    environment = {**os.environ, "HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("GALLON_STORE", None)
    client = NotebookClient(book, timeout=SECONDS, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return book


def without_noise(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave out what differs from run to run: progress, logs, times, and how often a cell was executed."""
    book.metadata = {"kernelspec": book.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in book.cells:
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        cell.outputs = [output for output in map(_kept, cell.outputs) if output is not None]
    return book


def _kept(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    if output.output_type == "stream":
        output.text = LOG.sub("", COLOUR.sub("", output.text))
        return output if output.name == "stdout" and output.text.strip() else None
    if "<progress" in output.get("data", {}).get("text/html", "") or output.output_type == "display_data":
        return None
    if "execution_count" in output:
        output.execution_count = None
    return output


def main() -> None:
    """Execute the notebooks that are named, or all, and store their outputs."""
    for notebook in sorted(TUTORIALS.glob("*.ipynb")):
        if sys.argv[1:] and notebook.stem not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as home:
            executed = execute(notebook, Path(folder), Path(home))
        nbformat.write(without_noise(executed), notebook)


if __name__ == "__main__":
    main()
