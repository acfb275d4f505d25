"""Tables that are too long to gather, written part by part: Parquet, JSON lines or CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher import strict_json
from teacher.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

Parts = Iterator["pa.Table"]


def check_path(out: Path) -> None:
    """Look whether a table can be written to a path, before anything is computed for it.

    Raises:
        UsageError: the suffix is none of .parquet, .jsonl and .csv, or the folder does not exist.
    """
    if out.suffix not in WRITERS:
        raise UsageError(f"'{out.name}' should end in one of {', '.join(WRITERS)}.")
    if not out.parent.is_dir():
        raise UsageError(f"There is no folder {out.parent}: make it, or choose another.")


def write(parts: Parts, schema: pa.Schema, out: Path) -> int:
    """Write a table and return how many rows it has; it stands under its name only when it is complete.

    Raises:
        UsageError: as `check_path`.
    """
    check_path(out)
    with _complete_or_not_at_all(out) as unfinished:
        return WRITERS[out.suffix](parts, schema, unfinished)


def _write_parquet(parts: Parts, schema: pa.Schema, out: Path) -> int:
    from pyarrow import parquet

    rows = 0
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
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


@contextmanager
def _complete_or_not_at_all(out: Path) -> Iterator[Path]:
    unfinished = out.with_name(f".{out.name}.unfinished")
    try:
        yield unfinished
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
