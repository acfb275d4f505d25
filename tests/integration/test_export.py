"""Whatever was accepted under a prompt of one's own can be exported."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from cluster.records.export import OURS, export
from cluster.store.store import Row, Store
from teacher.chemistry.facts import Structure
from teacher.chemistry.molecule import key_of
from teacher.llm.prompt import Prompt
from teacher.llm.schema import check_schema
from teacher.llm.spec import Model, PromptRef, Sampling, Spec
from teacher.llm.validation import RejectedError, validate
from tests.support.prompts import PROMPT
from tests.support.records import record

NOTHING = Structure((), aromatic_rings=0, aliphatic_rings=0)


def accept(store: Store, schema: dict[str, Any], *texts: str) -> Spec:
    """Keep texts as annotations of alkanes, after the checks that a run makes of the prompt and of them."""
    check_schema(schema)
    prompt = Prompt.model_validate({**PROMPT, "schema": schema})
    spec = Spec(model=Model(name="m", revision="1"), prompt=PromptRef.of(prompt), sampling=Sampling(max_tokens=100))
    store._redis.flushall()
    store.save_spec(spec, prompt)
    for number, text in enumerate(texts, start=1):
        validate(text, "stop", schema, NOTHING)
        smiles = "C" * number
        store.register(spec.id, "run", [Row(key_of(smiles), 0, number)])
        store.commit(spec.id, "run", [(key_of(smiles), record(smiles, text))], [(1, 1)])
    return spec


def exported(store: Store, spec: Spec, folder: Path) -> list[dict[str, Any]]:
    """Export in every format, and return the rows by the length of their SMILES."""
    outs = [folder / f"out{suffix}" for suffix in (".parquet", ".jsonl", ".csv")]
    counts = [export(store, spec, out) for out in outs]
    rows = parquet.read_table(outs[0]).to_pylist()
    assert [json.loads(line) for line in outs[1].read_bytes().splitlines()] == rows
    assert len(list(csv.DictReader(outs[2].open(encoding="utf-8", newline="")))) == len(rows)
    assert set(counts) == {len(rows)}
    return sorted(rows, key=lambda row: len(row["smiles"]))


def test_what_does_not_fit_a_column_is_null_and_the_text_keeps_it(store: Store, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"count": {"type": "integer"}, "mass": {"type": "number"}}}
    texts = ['{"count": 1e19, "mass": 12345678901234567}', '{"count": 2.0, "mass": -1e-9}', "{}"]
    rows = exported(store, accept(store, schema, *texts), tmp_path)
    assert [(row["count"], row["mass"]) for row in rows] == [(None, 12345678901234568.0), (2, -1e-9), (None, None)]
    assert [row["text"] for row in rows] == texts


def test_fields_are_written_beside_all_columns_of_ours(store: Store, tmp_path: Path) -> None:
    names = [*sorted(OURS), "temperature_"]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    (row,) = exported(store, accept(store, schema, json.dumps({name: f"my {name}" for name in names})), tmp_path)
    assert {name: row[f"{name}_"] for name in OURS - {"temperature"}} == {
        name: f"my {name}" for name in OURS - {"temperature"}
    }
    assert row["temperature"] == 0.0
    assert {row["temperature_"], row["temperature__"]} == {"my temperature", "my temperature_"}


@pytest.mark.parametrize(
    ("field", "value", "cell"),
    [
        (True, [1, "a"], '[1, "a"]'),
        ({"type": "array", "items": True}, ["a", 1], '["a", 1]'),
        ({"type": ["integer", "string"]}, "a", '"a"'),
        ({"type": ["integer", "null"]}, None, None),
        ({"type": ["integer", "null"]}, 3, 3),
        ({"$ref": "#/$defs/b"}, {"c": 1}, '{"c": 1}'),
        ({"type": "array", "items": {"type": ["string", "null"]}}, ["a", None], None),
    ],
)
def test_any_type_has_a_column(store: Store, tmp_path: Path, field: Any, value: Any, cell: Any) -> None:
    schema = {"type": "object", "properties": {"a": field}, "$defs": {"b": {"type": "object"}}}
    (row,) = exported(store, accept(store, schema, json.dumps({"a": value})), tmp_path)
    assert row["a"] == cell


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
types = st.sampled_from(["integer", "number", "boolean", "string", "array", "object", "null"])
fields = st.booleans() | st.fixed_dictionaries(
    {}, optional={"type": types | st.lists(types, min_size=1, unique=True), "items": st.booleans()}
)
names = st.sampled_from(sorted(OURS)) | st.text(min_size=1, max_size=4)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    properties=st.dictionaries(names, fields, max_size=3),
    answer=st.dictionaries(names, values, max_size=3),
)
@example(properties={"a": {"type": "integer"}}, answer={"a": 1e300})
@example(properties={"a": {"type": "number"}}, answer={"a": 10**17 + 1})
@example(properties={"": {"type": "array", "items": {"type": "string"}}}, answer={"": ["=1", "\r"]})
def test_whatever_is_accepted_can_be_exported(
    store: Store, tmp_path: Path, properties: dict[str, Any], answer: dict[str, Any]
) -> None:
    try:
        spec = accept(store, {"type": "object", "properties": properties}, json.dumps(answer))
    except RejectedError:
        return
    (row,) = exported(store, spec, tmp_path)
    assert json.loads(row["text"]) == answer
