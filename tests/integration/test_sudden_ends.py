"""Annotators that die while their engines load, and runs that end by what nobody foresaw."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cluster.records import importer
from cluster.records.importer import import_annotations
from cluster.runs.run import ended_well
from cluster.store.store import Store
from teacher.errors import EngineStartError
from teacher.llm.spec import Spec
from tests.support.scripted import Script


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.smi"
    path.write_text("CCO\nCCN\nCCC\nCC#N\n")
    return path


def killed_while_it_loads(log_path: Path) -> Any:
    """Start no engine: the kernel ends the process for the memory that its model takes."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_annotators_that_die_while_their_engines_load_end_the_run(run, library: Path, store: Store, spec: Spec) -> None:
    told: list[str] = []
    with pytest.raises(EngineStartError, match=r"Annotators die before they are ready on \S+ \("):
        run(library, script=killed_while_it_loads, warn=told.append)
    assert len(told) == 4
    assert all(sentence.startswith("An annotator died on ") for sentence in told)
    assert store.counts(spec.id).dead == 0


def test_molecules_that_kill_workers_one_after_the_other_do_not_end_the_run(
    run, library: Path, store: Store, spec: Spec
) -> None:
    ledger = run(library, script=Script(deadly=frozenset({"CCO", "CCN"}))).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (2, 2, 0)
    assert {letter.error for _, letter in store.dead_letters(spec.id)} == {"WorkerDiedError"}


class UnforeseenError(Exception):
    """What no error of gallon is."""


def break_down(*_: object) -> Any:
    raise UnforeseenError("a disk is gone\nand more")


def ends_of(store: Store) -> list[tuple[str, str]]:
    return [(facts["state"], facts["reason"]) for facts in store.runs().values()]


NOTED = [("failed", "It ended by UnforeseenError: a disk is gone")]


def test_a_run_that_nobody_foresaw_the_end_of_is_no_lost_one(
    run, library: Path, store: Store, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.annotation.annotate._refuse_emptiness", break_down)
    with pytest.raises(UnforeseenError):
        run(library)
    assert ends_of(store) == NOTED
    assert ended_well(store, spec.id) == list(store.runs())


def test_an_import_that_nobody_foresaw_the_end_of_is_no_lost_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made.jsonl").write_text('{"smiles": "CCO", "text": "An alcohol.", "model": "gpt"}\n')
    monkeypatch.setattr(importer, "validate", break_down)
    with pytest.raises(UnforeseenError):
        import_annotations(store, tmp_path / "made.jsonl")
    assert ends_of(store) == NOTED
