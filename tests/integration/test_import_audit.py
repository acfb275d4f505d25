"""An audit of annotations that were made elsewhere, by software that nobody knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cluster.records.importer import import_annotations
from cluster.records.integrity import audit
from cluster.store.keys import bucket_of, of_spec
from cluster.store.open import choose_spec
from cluster.store.store import Store


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "made.jsonl"
    path.write_text('{"smiles": "CCO", "text": "An alcohol.", "model": "gpt"}\n')
    return path


def test_an_audit_finds_nothing_wrong_with_what_was_imported(store: Store, made: Path) -> None:
    import_annotations(store, made)
    spec = choose_spec(store, None)
    assert list(audit(store, spec.id)) == []
    ((_, record),) = store.records(spec.id)
    assert store.software(record.software)["rdkit"]


def test_an_audit_finds_nothing_wrong_with_what_an_older_gallon_imported(store: Store, made: Path) -> None:
    import_annotations(store, made)
    spec = choose_spec(store, None)
    ((key, record),) = store.records(spec.id)
    store._redis.hset(of_spec(bucket_of(key), spec.id, "accepted")[0], key, replace(record, software="imported").pack())
    assert [kept.software for _, kept in store.records(spec.id)] == ["imported"]
    assert list(audit(store, spec.id)) == []
