"""A stranger's model by its path: its own chat template, answers that are often wrong, and no eyes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gallon
from cluster.records.integrity import audit
from cluster.store.store import Store
from tests.support.smollm2 import smollm2

SMILES = ("CCO", "CCN", "c1ccccc1", "CC(=O)O", "CC#N", "C1CCCCC1", "CC(=O)Oc1ccccc1C(=O)O", "Oc1ccccc1")


@pytest.fixture(scope="module")
def model() -> Path:
    return smollm2()


@pytest.fixture
def library(tmp_path: Path) -> Path:
    file = tmp_path / "library.smi"
    file.write_text("".join(f"{smiles}\n" for smiles in SMILES))
    return file


def test_what_a_stranger_writes_under_a_schema_is_json_or_a_dead_letter(
    model: Path, library: Path, store: Store, redis_url: str, ray_address: str
) -> None:
    found = gallon.annotate(
        library, model=str(model), image=False, max_tokens=120, max_attempts=2, ray=ray_address, store=redis_url
    )
    ledger = found.ledger
    assert (ledger.rows, ledger.molecules, ledger.accepted + ledger.dead, ledger.pending) == (8, 8, 8, 0)
    for _, record in store.records(found.spec):
        assert {"functional_groups", "aromatic_rings", "description"} <= json.loads(record.text).keys()
    assert {letter.stage for _, letter in store.dead_letters(found.spec)} <= {"finish", "schema"}
    assert not list(audit(store, found.spec))
    spec = store.specs()[found.spec]
    assert spec.model.revision.startswith("sha256:") and str(model.parent) not in spec.model_dump_json()


def test_a_stranger_answers_a_question_in_free_text(
    model: Path, library: Path, store: Store, redis_url: str, ray_address: str
) -> None:
    found = gallon.annotate(
        library,
        model=str(model),
        image=False,
        prompt="gallon",
        task="How soluble is this molecule in water?",
        max_tokens=60,
        max_attempts=1,
        ray=ray_address,
        store=redis_url,
    )
    ledger = found.ledger
    assert (ledger.molecules, ledger.accepted + ledger.dead, ledger.pending) == (8, 8, 0)
    assert {letter.stage for _, letter in store.dead_letters(found.spec)} <= {"finish", "schema"}
    assert not list(audit(store, found.spec))


def test_a_stranger_without_eyes_is_told_apart(model: Path, library: Path, tmp_path: Path, ray_address: str) -> None:
    with pytest.raises(gallon.GallonError, match="--no-image"):
        gallon.annotate(library, model=str(model), ray=ray_address, store=tmp_path / "store")
