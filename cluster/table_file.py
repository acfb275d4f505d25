"""Tables that are too long to gather, written part by part: Parquet, JSON lines, CSV, TSV, or an SD file.

Parquet and JSON lines hold every value exactly. CSV is what people open in a spreadsheet, and our texts in it come from
LLMs: one that a spreadsheet would run as a formula begins with an apostrophe. The cells of the user's own table are the
user's, and are written as they stood there: whoever opens the output has opened the input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher import strict_json
from teacher.files import check_output, replacing

if TYPE_CHECKING:
    import pyarrow as pa

Parts = Iterator["pa.Table"]

FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # how one begins, the wide forms of Asian keyboards too
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # which may begin like a formula, and is none
RECORD = "record"  # the column of an SD file's records
FIELD = re.compile(r"[\r\n]>")
BLANK_LINE = re.compile(r"(\r\n|\n|\r)[ \t]*(\r\n|\n|\r)\Z")
NOT_IN_A_NAME = re.compile(r"[<>\s]+")


def apart(names: Iterable[str], ours: Collection[str]) -> list[str]:
    """Return the columns for names that others chose; one that would hide a column of ours is written with a mark."""
    columns: list[str] = []
    taken = set(ours)
    for name in names:
        column = name
        while column in taken:
            column += "_"
        taken.add(column)
        columns.append(column)
    return columns


def write(parts: Parts, schema: pa.Schema, out: Path, *, theirs: int = 0) -> int:
    """Write a table and return how many rows it has; it stands under its name only when it is complete.

    Args:
        parts: of the table, in order.
        schema: of every part.
        out: a name that ends in one of `WRITERS`, or in .sdf if the first column is `RECORD`; a file that is there is
            replaced.
        theirs: how many columns, the first ones, are the user's own, and are written as they are.

    Raises:
        UsageError: it does not end so, or its folder cannot be written.
        OutputError: the disk is full, or the folder cannot be written.
    """
    writers = {**WRITERS, **({SDF: _write_sdf} if schema.names[0] == RECORD else {})}
    check_output(out, suffixes=writers, overwrite=True)
    with replacing(out) as aside:
        return writers[out.suffix.lower()](parts, schema, aside, theirs)


def _write_parquet(parts: Parts, schema: pa.Schema, out: Path, theirs: int) -> int:
    from pyarrow import parquet

    rows = 0
    with out.open("wb") as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part)
            rows += part.num_rows
    return rows


def _write_jsonl(parts: Parts, schema: pa.Schema, out: Path, theirs: int) -> int:
    rows = 0
    with out.open("w", encoding="utf-8") as file:
        for part in parts:
            file.writelines(
                strict_json.dumps(row, ensure_ascii=False, default=cell_of) + "\n" for row in part.to_pylist()
            )
            rows += part.num_rows
    return rows


def _write_text(parts: Parts, schema: pa.Schema, out: Path, theirs: int, *, separator: str) -> int:
    import csv

    def written(values: Iterable[Any]) -> list[Any]:
        cells = list(map(cell_of, values))
        return [*cells[:theirs], *map(_guarded, cells[theirs:])]

    rows = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(written(schema.names))
        for part in parts:
            writer.writerows(written(row.values()) for row in part.to_pylist())
            rows += part.num_rows
    return rows


def _write_sdf(parts: Parts, schema: pa.Schema, out: Path, theirs: int) -> int:
    """Write records as they are, and what else the table has as further fields of theirs."""
    rows = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        for part in parts:
            file.writelines(_record(**row) for row in part.to_pylist())
            rows += part.num_rows
    return rows


def _record(record: str, **fields: Any) -> str:
    end = "\r\n" if record.endswith("\r\n") else "\n"
    if record and not record.endswith(("\r", "\n")):
        record += end
    if FIELD.search(record) and not BLANK_LINE.search(record):
        record += end  # which ends the value of its last field
    for name, value in fields.items():
        if value not in (None, "", []):
            # A blank line would end the value, and a line of dollars the record.
            shown = " ".join(str(cell_of(value)).split()).replace("$$$$", "$ $ $ $")
            record += f">  <{NOT_IN_A_NAME.sub('_', name)}>{end}{shown}{end}{end}"
    return f"{record}$$$${end}"


def cell_of(value: Any) -> Any:
    """Return a value as text formats hold it: a list in one text, and as text what is neither text nor number."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list) and not any(isinstance(item, list | dict | bytes) for item in value):
        return "; ".join(map(str, value))
    if isinstance(value, list | dict):
        return strict_json.dumps(value, ensure_ascii=False, default=cell_of)
    return str(value)


def _guarded(value: Any) -> Any:
    """Return a cell in which no text is a formula."""
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


SDF = ".sdf"
WRITERS: dict[str, Callable[[Parts, pa.Schema, Path, int], int]] = {
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
    ".csv": partial(_write_text, separator=","),
    ".tsv": partial(_write_text, separator="\t"),
}
BESIDE_ROWS = (*WRITERS, SDF)  # what the rows of a library can be written to
