"""Tables that are too long to gather, written part by part: Parquet, JSON lines or CSV.

Parquet and JSON lines hold every value exactly. CSV is what people open in a spreadsheet, and the texts in it come from
libraries and LLMs: one that a spreadsheet would run as a formula begins with an apostrophe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher import strict_json
from teacher.files import check_output, replacing

if TYPE_CHECKING:
    import pyarrow as pa

Parts = Iterator["pa.Table"]

FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # how one begins, the wide forms of Asian keyboards too
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # which may begin like a formula, and is none


def apart(names: Iterable[str], ours: Collection[str]) -> list[str]:
    """Return the columns for names that others chose; one that would hide a column of ours is written with a mark."""
    columns: list[str] = []
    for name in names:
        column = name
        while column in ours or column in columns:
            column += "_"
        columns.append(column)
    return columns


def write(parts: Parts, schema: pa.Schema, out: Path) -> int:
    """Write a table and return how many rows it has; it stands under its name only when it is complete.

    Args:
        parts: of the table, in order.
        schema: of every part.
        out: a name that ends in one of `WRITERS`; a file that is there is replaced.

    Raises:
        UsageError: it does not end so, or its folder cannot be written.
        OutputError: the disk is full, or the folder cannot be written.
    """
    check_output(out, suffixes=WRITERS, overwrite=True)
    with replacing(out) as aside:
        return WRITERS[out.suffix.lower()](parts, schema, aside)


def _write_parquet(parts: Parts, schema: pa.Schema, out: Path) -> int:
    from pyarrow import parquet

    rows = 0
    with out.open("wb") as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part)
            rows += part.num_rows
    return rows


def _write_jsonl(parts: Parts, schema: pa.Schema, out: Path) -> int:
    rows = 0
    with out.open("w", encoding="utf-8") as file:
        for part in parts:
            file.writelines(strict_json.dumps(row, ensure_ascii=False) + "\n" for row in part.to_pylist())
            rows += part.num_rows
    return rows


def _write_csv(parts: Parts, schema: pa.Schema, out: Path) -> int:
    import csv

    rows = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(_cell, schema.names))
        for part in parts:
            writer.writerows(map(_cell, row.values()) for row in part.to_pylist())
            rows += part.num_rows
    return rows


def _cell(value: Any) -> Any:
    """Return what a CSV cell says of a value: a list in one text, and no text as a formula."""
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


WRITERS: dict[str, Callable[[Parts, pa.Schema, Path], int]] = {
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
}
