"""What the chaos harness counts on: without it, it would count what is not there."""

from __future__ import annotations

from pathlib import Path

from cluster.library.rows import read_all
from cluster.library.source import resolve
from teacher.chemistry.parsing import Parsed, shared_parser
from tests.chaos.__main__ import POISON
from tests.chaos.scene import write_library


def test_every_molecule_that_kills_engines_is_in_the_library(tmp_path: Path) -> None:
    """One stood where a row that kills parsers had come to stand, and a dead letter of each library was missed."""
    write_library(tmp_path / "library.smi", 1_000)
    rows = [row for block in read_all(resolve([str(tmp_path / "library.smi")])) for row in block.to_pylist()]
    parsed = shared_parser().parse([(row["raw"], row["notation"]) for row in rows])
    assert set(POISON) <= {molecule.smiles for molecule in parsed if isinstance(molecule, Parsed)}
