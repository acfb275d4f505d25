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

FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # how one begins, the wide forms of Asian keyboards too
FORMULA_BEGINS = f"^{FORMULA.pattern}"
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

    rows = 0
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow([*schema.names[:theirs], *map(_guarded, schema.names[theirs:])])
        for part in parts:
            file.writelines(_lines(part, theirs, separator))
            rows += part.num_rows
    return rows


def _lines(part: pa.Table, theirs: int, separator: str) -> list[str]:
    """Return the rows of a table as `csv.writer` would write them, made column by column."""
    import pyarrow.compute as pc

    if part.num_columns < 2:  # where an empty cell would be an empty line
        return [f"{cell or chr(34) * 2}\r\n" for cell in _cells(part.column(0), theirs < 1, separator).to_pylist()]
    cells = [_cells(column, place >= theirs, separator) for place, column in enumerate(part.columns)]
    last = pc.binary_join_element_wise(cells[-1], _mark("\r\n"), _mark(""))
    found: list[str] = pc.binary_join_element_wise(*cells[:-1], last, _mark(separator)).to_pylist()
    return found


def _cells(column: pa.ChunkedArray, guard: bool, separator: str) -> pa.Array:
    """Return the cells of a column as they stand in a text file, quoted where they must be, empty where null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_float32(kind) or pa.types.is_integer(kind):
        return pc.fill_null(column.combine_chunks().cast(pa.large_string()), "")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = pc.fill_null(column.combine_chunks().cast(pa.large_string()), "")
    else:
        values = (cell_of(value) for value in column.to_pylist())
        texts = pa.array(["" if value is None else str(value) for value in values], pa.large_string())
    if guard and pc.any(pc.match_substring_regex(texts, FORMULA_BEGINS)).as_py():
        texts = pa.array([_guarded(cell) for cell in texts.to_pylist()], pa.large_string())
    odd = pc.match_substring_regex(texts, f'[{separator}"\\r\\n]')
    if not pc.any(odd).as_py():
        return texts
    doubled = pc.replace_substring(texts, '"', '""')
    return pc.if_else(odd, pc.binary_join_element_wise(_mark(""), doubled, _mark(""), _mark('"')), texts)


def _mark(text: str) -> pa.Scalar:
    import pyarrow as pa

    return pa.scalar(text, pa.large_string())


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
