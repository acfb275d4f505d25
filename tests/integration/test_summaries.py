"""What the command line says about a run once it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.library.source import resolve
from cluster.store.store import Store
from gallon.api.annotation import AnnotationResult, first_records
from gallon.cli.output import print_annotation
from teacher.llm.spec import Spec
from tests.support.command import CommandHere


@pytest.fixture
def second(run, tmp_path: Path) -> Path:
    """A small library with a row that is no molecule, in a store that holds many other molecules of the same spec."""
    first, second = tmp_path / "first.smi", tmp_path / "second.smi"
    first.write_text("".join("C" * length + "N\n" for length in range(1, 60)))
    second.write_text("not\ta molecule\nCO\n")
    run(first)
    return second


def test_a_summary_shows_molecules_of_its_own_library_and_counts_all_dead_letters(
    run, second: Path, store: Store, spec: Spec, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # the second run finds nothing to do, and has something to show all the same
        result, examples = run(second), first_records(store, spec.id, resolve([str(second)]), None)
        print_annotation(
            AnnotationResult(
                run=result.run, spec=spec.id, ledger=result.ledger, interrupted=False, examples=tuple(examples)
            )
        )
        said = capsys.readouterr().out
        assert [line.split()[0] for line in said.splitlines() if "agreement with RDKit" in line] == ["CO"]
        assert "dead letters       1 (0 molecules, 1 row without a molecule)" in said


def test_dead_letters_stand_in_columns_and_a_recount_speaks_of_defects_only_if_it_looked_for_them(
    run, second: Path, redis_url: str, spec: Spec, command_here: CommandHere
) -> None:
    run(second)
    ((row, stage, raw, message),) = [
        line.split("\t") for line in command_here("dead", store=redis_url).out.splitlines()
    ]
    assert (row, stage, raw) == (f"{second}:1", "parse", "not")
    assert message.startswith("The row ")
    verify = ["verify", second, "--spec", spec.id]
    plainly = command_here(*verify, store=redis_url).out
    assert "ok          yes" in plainly and "defects" not in plainly
    assert "defects     0" in command_here(*verify, "--deep", store=redis_url).out
