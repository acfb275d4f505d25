"""Annotations out of the store, as a table: Parquet, JSON lines or CSV."""

from __future__ import annotations

import json
from collections.abc import Container
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.store.record import Record
from cluster.store.store import Store
from cluster.table_file import Parts, apart, write
from teacher import strict_json
from teacher.llm.row_columns import pack_cells
from teacher.llm.schema import Kind, columns_of
from teacher.llm.spec import Spec
from teacher.llm.validation import RejectedError, parsed_object

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_PART = 2_000
BEFORE = ("key", "smiles", "columns", "text")  # and then the fields of the prompt's schema
GROUNDING = ("grounding", "groups_precision", "groups_recall", "rings_right")
MADE_BY = ("spec", "model", "revision", "prompt", "finish_reason")
COUNTS = ("prompt_tokens", "completion_tokens", "attempts", "seed")
AGREEMENT, SAMPLES = "agreement", "samples"  # of specs with several samples, and of those that keep them all
THOUGHTS = ("reasoning", "reasoning_tokens")  # of specs under which the LLM thinks
OURS = frozenset({*BEFORE, *GROUNDING, *MADE_BY, *COUNTS, "temperature", "run", "software", "time"})


def export(store: Store, spec: Spec, out: Path, only: Container[bytes] | None = None) -> int:
    """Write all accepted annotations of a spec, or only those with some keys, one row each, and return how many.

    The file stands under its name only when it is complete. Columns: `key` (hexadecimal) and `smiles` of the molecule,
    `columns` (JSON; the cells of its row that the LLM was shown, where the spec has some), `text`, one column for each
    field of the prompt's schema (`schema.columns_of`; a field that is called like one of our columns has an underscore
    more), the grounding, the provenance; under a spec that has the LLM think what it thought; under one with several
    samples how far they agree (`agreement`), and their texts where all are kept (`samples`, JSON). `text` is exact; a
    field is null where the text has none, or one that its column cannot hold, such as an integer of more than 64 bits.
    In CSV a text that a spreadsheet would run as a formula begins with an apostrophe (`cluster.table_file`).

    Raises:
        OutputError: the file cannot be written.
        StoreError: Redis failed.
    """
    schema, parts = tables(store, spec, only)
    return write(parts, schema, out)


def tables(store: Store, spec: Spec, only: Container[bytes] | None = None) -> tuple[pa.Schema, Parts]:
    """Return the schema of what `export` writes, and an iterator over its tables of a few thousand rows."""
    columns = AnnotationColumns(store, spec)
    return columns.schema, _parts(store, spec, columns, only)


class AnnotationColumns:
    """The columns of a spec's annotations.

    Attributes:
        schema: of a table with them.
    """

    def __init__(self, store: Store, spec: Spec) -> None:
        prompt = store.prompt(spec)
        self._store, self._spec = store, spec
        self._kinds = columns_of(prompt.json_schema if prompt else None)
        self._software: dict[str, str] = {}
        self.schema = _schema(spec, self._kinds)

    def row(self, key: bytes, record: Record) -> dict[str, Any]:
        """Return the cells of a record's row by their columns, and some that the schema may not have."""
        return _row(key, record, self._spec, self._kinds, _versions(self._store, record, self._software))


def _parts(store: Store, spec: Spec, columns: AnnotationColumns, only: Container[bytes] | None) -> Parts:
    import pyarrow as pa

    rows = (columns.row(key, record) for key, record in store.records(spec.id) if only is None or key in only)
    while part := list(islice(rows, ROWS_PER_PART)):
        yield pa.Table.from_pylist(part, schema=columns.schema)


def _row(key: bytes, record: Record, spec: Spec, kinds: dict[str, Kind], software: str) -> dict[str, Any]:
    fields = _fields(record.text) if kinds else {}
    values = [_value(fields.get(name), kind) for name, kind in kinds.items()]
    grounding = record.grounding
    return {
        "key": key.hex(),
        "smiles": record.smiles,
        "columns": pack_cells(record.columns),  # in the table where the schema has it
        "text": record.text,
        **dict(zip(_columns(spec, kinds), values, strict=True)),
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
        **{name: getattr(record, name) for name in _thoughts(spec)},
        AGREEMENT: record.agreement,  # in the table where the schema has them
        SAMPLES: json.dumps([{"text": sample.text, "grounding": sample.grounding} for sample in record.samples]),
    }


def _versions(store: Store, record: Record, known: dict[str, str]) -> str:
    if record.software not in known:
        known[record.software] = json.dumps(store.software(record.software), sort_keys=True)
    return known[record.software]


def _thoughts(spec: Spec) -> tuple[str, ...]:
    """Return the columns for what was thought before the answer: none where nobody was to think."""
    return THOUGHTS if spec.thinking and spec.thinking.on else ()


def _columns(spec: Spec, kinds: dict[str, Kind]) -> list[str]:
    return apart(kinds, OURS.union(_thoughts(spec), _of_samples(spec)))


def _of_samples(spec: Spec) -> tuple[str, ...]:
    """Return the columns about several samples: none where there is one answer."""
    if spec.samples is None:
        return ()
    return (AGREEMENT, SAMPLES) if spec.samples.keep == "all" else (AGREEMENT,)


def _schema(spec: Spec, kinds: dict[str, Kind]) -> pa.Schema:
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    types = {"integer": whole, "number": real, "boolean": pa.bool_(), "strings": pa.list_(text)}
    return pa.schema(
        [
            *[(name, text) for name in BEFORE if name != "columns" or spec.columns],
            *zip(_columns(spec, kinds), [types.get(kind, text) for kind in kinds.values()], strict=True),
            *[(name, real) for name in GROUNDING],
            *[(name, text) for name in MADE_BY],
            *[(name, whole) for name in COUNTS],
            *[("temperature", real), ("run", text), ("software", text), ("time", text)],
            *zip(_thoughts(spec), (text, whole), strict=False),
            *zip(_of_samples(spec), (real, text), strict=False),
        ]
    )


def _fields(text: str) -> dict[str, Any]:
    """Return the fields of an answer; none where it is no sound object, which `records.integrity` calls a defect."""
    try:
        return parsed_object(text)
    except RejectedError:
        return {}


def _value(value: Any, kind: Kind) -> Any:
    """Return a value as its column holds it, or None where the column cannot."""
    match kind:
        case "json":
            return None if value is None else strict_json.dumps(value, ensure_ascii=False)
        case "integer":
            return int(value) if _is_number(value) and float(value).is_integer() and abs(value) < 2**63 else None
        case "number":
            return float(value) if _is_number(value) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "string":
            return value if isinstance(value, str) else None
        case "strings":
            return value if isinstance(value, list) and all(isinstance(each, str) for each in value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
