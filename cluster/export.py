"""Annotations out of the store, as a table: Parquet, JSON lines or CSV."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.record import Record
from cluster.store import Store
from cluster.table_file import Parts, apart, write
from teacher.spec import Spec

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_PART = 2_000
BEFORE = ("key", "smiles", "text")  # and then the fields of the prompt's schema
GROUNDING = ("grounding", "groups_precision", "groups_recall", "rings_right")
MADE_BY = ("spec", "model", "revision", "prompt", "finish_reason")
COUNTS = ("prompt_tokens", "completion_tokens", "attempts", "seed")
OURS = frozenset({*BEFORE, *GROUNDING, *MADE_BY, *COUNTS, "temperature", "run", "software", "time"})


def export(store: Store, spec: Spec, out: Path) -> int:
    """Write all accepted annotations of a spec, one row each, and return how many.

    The file stands under its name only when it is complete. Columns: `key` (hexadecimal) and `smiles` of the molecule,
    `text`, one column for each field of the prompt's schema, the grounding, and the provenance.

    Raises:
        OutputError: the file cannot be written.
        StoreError: Redis failed.
    """
    prompt = store.prompt(spec)
    properties = (prompt.json_schema or {}).get("properties", {}) if prompt else {}
    return write(_parts(store, spec, properties), _schema(properties), out)


def _parts(store: Store, spec: Spec, properties: dict[str, Any]) -> Parts:
    import pyarrow as pa

    software: dict[str, str] = {}
    rows = (
        _row(key, record, spec, properties, _versions(store, record, software))
        for key, record in store.records(spec.id)
    )
    while part := list(islice(rows, ROWS_PER_PART)):
        yield pa.Table.from_pylist(part, schema=_schema(properties))


def _row(key: bytes, record: Record, spec: Spec, properties: dict[str, Any], software: str) -> dict[str, Any]:
    fields = json.loads(record.text) if properties else {}
    values = [_value(fields.get(name), schema) for name, schema in properties.items()]
    grounding = record.grounding
    return {
        "key": key.hex(),
        "smiles": record.smiles,
        "text": record.text,
        **dict(zip(apart(properties, OURS), values, strict=True)),
        "grounding": grounding.score,
        "groups_precision": grounding.precision,
        "groups_recall": grounding.recall,
        "rings_right": grounding.rings,
        "spec": spec.id,
        "model": spec.model.name,
        "revision": spec.model.revision,
        "prompt": f"{spec.prompt.name} v{spec.prompt.version}",
        "finish_reason": record.finish_reason,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "attempts": record.attempts,
        "seed": record.seed,
        "temperature": record.temperature,
        "run": record.run,
        "software": software,
        "time": datetime.fromtimestamp(record.time, UTC).isoformat(timespec="seconds"),
    }


def _versions(store: Store, record: Record, known: dict[str, str]) -> str:
    if record.software not in known:
        known[record.software] = json.dumps(store.software(record.software), sort_keys=True)
    return known[record.software]


def _schema(properties: dict[str, Any]) -> pa.Schema:
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    types = {"integer": whole, "number": real, "boolean": pa.bool_(), "strings": pa.list_(text)}
    kinds = [types.get(_kind(schema), text) for schema in properties.values()]
    return pa.schema(
        [
            *[(name, text) for name in BEFORE],
            *zip(apart(properties, OURS), kinds, strict=True),
            *[(name, real) for name in GROUNDING],
            *[(name, text) for name in MADE_BY],
            *[(name, whole) for name in COUNTS],
            *[("temperature", real), ("run", text), ("software", text), ("time", text)],
        ]
    )


def _kind(schema: dict[str, Any]) -> str:
    """Say what a field is written as: its own type, a list of strings, or else (objects, unions) JSON text."""
    kind = schema.get("type")
    if kind == "array" and schema.get("items", {}).get("type") == "string":
        return "strings"
    return kind if kind in ("integer", "number", "boolean", "string") else "json"


def _value(value: Any, schema: dict[str, Any]) -> Any:
    return json.dumps(value, ensure_ascii=False) if _kind(schema) == "json" else value
