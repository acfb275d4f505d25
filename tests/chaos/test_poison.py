"""Molecules that take the whole worker with them, several in one batch."""

from __future__ import annotations

from pathlib import Path

from cluster.store.store import Store
from teacher.llm.spec import Spec
from tests.support.scripted import Script


def test_several_deadly_molecules_cost_nobody_else(run, tmp_path: Path, store: Store, spec: Spec) -> None:
    """Those that wait behind a suspect meet every death of it, and are not to be blamed for any."""
    path = tmp_path / "alkanes.smi"
    path.write_text("".join(f"{'C' * number}\n" for number in range(1, 41)))
    deadly = frozenset({"CCC", "CCCCCCC", "CCCCCCCCC"})
    ledger = run(path, script=Script(deadly=deadly)).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (37, 3, 0)
    letters = [letter for _, letter in store.dead_letters(spec.id)]
    assert {letter.smiles for letter in letters} == deadly
    assert {letter.error for letter in letters} == {"WorkerDiedError"}
