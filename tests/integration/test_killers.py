"""Rows that RDKit does not survive: each costs itself, in a run, after it, and in a recount."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdkit import Chem

from cluster.library.molecules import unique_molecules
from cluster.library.source import resolve
from cluster.records.completeness import verify
from cluster.records.dead_letters import dead_letters
from cluster.store.store import Store
from teacher.llm.spec import Spec
from tests.support.killers import complete_graph, graphene, v3000

GOOD = 50  # in each of two files


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A SMILES file and an SDF, of 50 alcohols and 50 amines, with two killers each in between."""
    lines = [b"C" * length + b"O" for length in range(1, GOOD + 1)]
    lines.insert(10, graphene(30, 40))
    lines.insert(40, graphene(22, 30))
    blocks = [Chem.MolToMolBlock(Chem.MolFromSmiles("C" * length + "N")).encode() for length in range(1, GOOD + 1)]
    blocks.insert(0, complete_graph(80))
    blocks.insert(30, v3000(["U"] * 400, [(hub, atom) for atom in range(3, 401) for hub in (1, 2)]))
    smiles, sdf = tmp_path / "library.smi", tmp_path / "library.sdf"
    smiles.write_bytes(b"\n".join(lines) + b"\n")
    sdf.write_bytes(b"".join(block + b"$$$$\n" for block in blocks))
    return [smiles, sdf]


def test_rows_that_kill_rdkit_cost_themselves_in_every_run_and_in_a_recount(
    run, files: list[Path], store: Store, spec: Spec
) -> None:
    for new in (2 * GOOD, 0):
        ledger = run(*files).ledger
        assert (ledger.rows, ledger.invalid, ledger.accepted) == (2 * GOOD + 4, 4, 2 * GOOD)
        assert (ledger.new, ledger.pending, ledger.dead) == (new, 0, 0)
        letters = {(Path(letter.source).name, letter.row): letter for letter in dead_letters(store, spec)}
        assert set(letters) == {("library.smi", 11), ("library.smi", 41), ("library.sdf", 1), ("library.sdf", 31)}
        assert {letter.stage for letter in letters.values()} == {"parse"}
        assert all(" rings; up to " in letter.message for letter in letters.values())
    verdict = verify(resolve([str(file) for file in files]), limit=None, spec_id=spec.id, store=store)
    assert (verdict.ok, verdict.rows, verdict.invalid, verdict.accepted) == (True, 2 * GOOD + 4, 4, 2 * GOOD)


def test_whoever_learns_from_a_library_passes_over_them(files: list[Path]) -> None:
    assert len(list(unique_molecules(resolve([str(file) for file in files])))) == 2 * GOOD
