"""What is noted of rows, and when: a driver may be killed between any two steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from cluster.annotation.job import Job
from cluster.annotation.plan import plan
from cluster.store.connection import StoreError
from cluster.store.store import Store
from teacher.chemistry.molecule import InvalidMoleculeError, key_of
from teacher.chemistry.parsing import shared_parser
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.scripted import Script


@pytest.fixture
def job(store: Store, spec: Spec, describe: Prompt) -> Job:
    return Job(
        run="run", store_url=store.url, spec=spec, prompt=describe, sources=("f",), max_attempts=3, engine=Script()
    )


def block(*texts: str) -> pa.Table:
    rows = [{"source": 0, "row": row, "raw": raw.encode(), "notation": "smiles"} for row, raw in enumerate(texts, 1)]
    return pa.Table.from_pylist(rows)


def planned(table: pa.Table, job: Job) -> list[bytes]:
    keys: list[bytes] = plan(table, job)["key"].to_pylist()
    return keys


def test_rows_count_as_read_only_once_their_molecules_are_registered(
    store: Store, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise StoreError("the driver was killed here")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "register", die)
        with pytest.raises(StoreError):
            plan(block("CCO", "CCN"), job)
    assert store.rows_read(job.run, 1) == (0, 0)
    assert planned(block("CCO", "CCN"), job) == [key_of("CCO"), key_of("CCN")]
    assert store.rows_read(job.run, 1) == (2, 0)


def test_rows_that_only_together_are_the_same_text_are_other_molecules(store: Store, job: Job) -> None:
    """What rows parse to is remembered by their text."""
    assert planned(block("CC", "O"), job) == [key_of("CC"), key_of("O")]
    assert planned(block("C", "CO"), job) == [key_of("C"), key_of("CO")]


@pytest.mark.parametrize("version", ["cluster.annotation.plan.PARSER_VERSION", "rdkit.__version__"])
def test_what_another_parser_made_of_rows_is_not_remembered(
    store: Store, job: Job, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests: list[str] = []
    monkeypatch.setattr(Store, "save_parsed", lambda self, digest, keys: digests.append(digest))
    plan(block("CCO"), job)
    monkeypatch.setattr(version, "another")
    plan(block("CCO"), job)
    assert len(set(digests)) == 2


def test_rows_that_are_drawn_from_a_library_are_noted_one_by_one(store: Store, job: Job) -> None:
    rows = [{"source": 0, "row": row, "raw": raw, "notation": "smiles"} for row, raw in ((2, b"CCO"), (7, b"CCN"))]
    assert planned(pa.Table.from_pylist(rows), job) == [key_of("CCO"), key_of("CCN")]
    assert store.rows_read(job.run, 1) == (2, 0)


def test_a_molecule_that_is_not_parsed_the_second_time_costs_itself(
    store: Store, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the process that parses is killed twice because memory is short."""
    plan(block("CCO", "CCN"), job)
    later = replace(job, run="later")
    killed = InvalidMoleculeError("kills RDKit (SIGKILL)")
    (second,) = shared_parser().parse([(b"CCN", "smiles")])
    assert not isinstance(second, InvalidMoleculeError)

    class Parser:
        def parse(self, texts: list[tuple[bytes, str]]) -> list[Any]:
            return [{b"CCO": killed, b"CCN": second}[raw] for raw, _ in texts]

    monkeypatch.setattr("cluster.annotation.plan.shared_parser", Parser)
    assert planned(block("CCO", "CCN"), later) == [key_of("CCN")]
    assert store.state_of(job.spec.id, [key_of("CCO"), key_of("CCN")]) == ["dead", "pending"]
    ((_, letter),) = store.dead_letters(job.spec.id)
    assert (letter.stage, letter.message, letter.source, letter.row) == (
        "parse",
        "The row kills RDKit (SIGKILL).",
        "f",
        1,
    )
    ledger = store.ledger(job.spec.id, later.run, 1, 0.0)
    assert (ledger.rows, ledger.molecules, ledger.invalid, ledger.dead) == (2, 2, 0, 1)
