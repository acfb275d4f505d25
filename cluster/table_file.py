"""Tables that are too long to gather, written part by part: Parquet, JSON lines or CSV."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher import strict_json
from teacher.files import check_output, replacing

if TYPE_CHECKING:
    import pyarrow as pa

Parts = Iterator["pa.Table"]


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
        writer = csv.DictWriter(file, schema.names)
        writer.writeheader()
        for part in parts:
            writer.writerows({name: _cell(value) for name, value in row.items()} for row in part.to_pylist())
            rows += part.num_rows
    return rows


def _cell(value: Any) -> Any:
    """Write a list into one CSV cell."""
    return "; ".join(map(str, value)) if isinstance(value, list) else value


WRITERS: dict[str, Callable[[Parts, pa.Schema, Path], int]] = {
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
}
