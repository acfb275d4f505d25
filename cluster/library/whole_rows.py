"""The rows of a library with the columns that are kept of them, in order and block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.library.delimited import BrokenRecord
from cluster.library.kept import KeptColumns, kept_name
from cluster.library.parquet import opened
from cluster.library.rows import (
    RAW_LIMIT,
    ROWS_PER_BLOCK,
    cell_text,
    each_line,
    in_blocks,
    molecule_column,
    no_further,
    packed,
    raw_molecule,
    text_records,
)
from cluster.library.sdf import fields, mol_block, sdf_records, title, with_fields
from cluster.library.source import Source
from cluster.library.streams import UnreadableError, text
from cluster.table_file import cell_of
from teacher.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

RECORDS_PER_BLOCK = 64  # of SD files, whose records may be long
LINE_SHOWN = 200  # of a line that is no record
DAMAGE = "damage"  # the column that says what of a row has no column


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a text file: its molecule, the cells that prompts show, what is wrong with it, and what is kept."""

    raw: bytes
    columns: str
    damage: str | None
    cells: Sequence[str | None]


def read_whole(source: Source, index: int, kept: KeptColumns, limit: int | None = None) -> Iterator[pa.Table]:
    """Stream the rows of one file with the columns that are kept.

    Args:
        source: the file, as `cluster.library.source.resolve` found it.
        index: its place in the library, and the number that its rows carry as their source.
        kept: the columns.
        limit: read this many rows at most.

    Yields:
        Tables as `cluster.library.rows.read` yields them, of the same rows, with these columns more: `damage` (string:
        what is wrong with the row beside its molecule, null where nothing is), and the kept ones under the names that
        `kept_name` gives them. A cell of a text file is what stands there, without its quotes.

    Raises:
        LibraryError: as `cluster.library.rows.read`.
    """
    if source.format == "parquet":
        yield from _parquet_tables(source, index, kept, limit)
        return
    if source.format == "smiles":
        yield from _line_tables(source, index, kept, limit)
        return
    readers: dict[str, Callable[[Source, int, KeptColumns], Iterator[_Row]]] = {
        "csv": _of_records,
        "sdf": _of_mol_blocks,
    }
    size = RECORDS_PER_BLOCK if source.format == "sdf" else ROWS_PER_BLOCK
    first = 1
    for rows in in_blocks(source, readers[source.format](source, index, kept), limit, size):
        yield _table(source, index, first, rows, kept)
        first += len(rows)


def read_all_whole(sources: Sequence[Source], kept: KeptColumns, limit: int | None = None) -> Iterator[pa.Table]:
    """Stream the rows of a whole library as `read_whole` does, file after file, or its first `limit` rows."""
    for index, source in enumerate(sources):
        for table in read_whole(source, index, kept, limit):
            yield table
            if limit is not None:
                limit -= table.num_rows


def why(damage: str | None, reason: str | None) -> str | None:
    """Say why a row has no result, and what of it has no column; None where there is nothing to say."""
    return "; ".join(filter(None, (reason, damage))) or None


def _table(source: Source, index: int, first: int, rows: Sequence[_Row], kept: KeptColumns) -> pa.Table:
    import pyarrow as pa

    notation = "molblock" if source.format == "sdf" else "smiles"
    columns = _numbered(index, first, len(rows), notation)
    columns["raw"] = pa.array([row.raw for row in rows], pa.binary())
    if source.columns:
        columns["columns"] = pa.array([row.columns for row in rows], pa.string())
    columns[DAMAGE] = pa.array([row.damage for row in rows], pa.string())
    cells = zip(*(row.cells for row in rows), strict=True)
    for place, (values, kind) in enumerate(zip(cells, kept.types, strict=True)):
        columns[kept_name(place)] = pa.array(values, pa.string()).cast(kind)
    return pa.table(columns)


def _numbered(index: int, first: int, rows: int, notation: str) -> dict[str, Any]:
    import pyarrow as pa

    return {
        "source": pa.repeat(pa.scalar(index, pa.int32()), rows),
        "row": pa.array(range(first, first + rows), pa.int64()),
        "notation": pa.repeat(pa.scalar(notation, pa.string()), rows),
    }


# Text


def _line_tables(source: Source, index: int, kept: KeptColumns, limit: int | None) -> Iterator[pa.Table]:
    """Yield the rows of a SMILES file; all its lines are cut in one go, which takes a tenth of the time."""
    import pyarrow as pa

    places = kept.places[index]
    first = 1
    for lines in in_blocks(source, each_line(source), limit):
        parts = [line.split(None, 1) or [b""] for line in lines]
        molecules = [each[0] for each in parts]
        names = [each[1].rstrip(b"\r\n") if len(each) > 1 else b"" for each in parts] if 1 in places else []
        columns = _numbered(index, first, len(lines), "smiles")
        columns["raw"] = pa.array([molecule[:RAW_LIMIT] for molecule in molecules], pa.binary())
        if source.columns:
            columns["columns"] = pa.repeat(pa.scalar("", pa.string()), len(lines))
        columns[DAMAGE] = pa.nulls(len(lines), pa.string())
        for number, (place, kind) in enumerate(zip(places, kept.types, strict=True)):
            values = pa.nulls(len(lines), pa.string()) if place is None else _texts((molecules, names)[place])
            columns[kept_name(number)] = values.cast(kind)
        yield pa.table(columns)
        first += len(lines)


def _texts(cells: Sequence[bytes]) -> pa.Array:
    """Return what bytes say, as `cluster.library.streams.text` reads them."""
    import pyarrow as pa

    try:
        return pa.array(cells, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array(map(text, cells), pa.string())


def _of_records(source: Source, index: int, kept: KeptColumns) -> Iterator[_Row]:
    found = text_records(source)
    written = next(found, [])
    file, places = kept.files[index], kept.places[index]
    if len(written) != len(file.names) or file.smiles is None:
        raise UnreadableError("its columns are no more what they were when it was opened")
    names = [name for name, _ in source.columns]
    shown = [written.index(column) for _, column in source.columns]
    for record in found:
        cells = [cell_text(cell) for cell in record]
        cells += [""] * (len(written) - len(cells))
        yield _Row(
            raw_molecule(record[file.smiles] if file.smiles < len(record) else ""),
            packed(names, [cells[place] for place in shown]),
            _damage(record, len(written)),
            [None if place is None else cells[place] for place in places],
        )


def _damage(record: Sequence[str], columns: int) -> str | None:
    """Say what of a record has no column, so that it is not lost without a word."""
    if isinstance(record, BrokenRecord):
        return f"the quotes of the line make no sense: {cell_text(record.line).strip()[:LINE_SHOWN]}"
    beyond = [cell_text(cell) for cell in record[columns:]]
    if any(beyond):
        cells = counted(len(record), "cell")
        return f"the row has {cells} and the header {columns}; beyond it: {' | '.join(beyond)[:LINE_SHOWN]}"
    return None


def _of_mol_blocks(source: Source, index: int, kept: KeptColumns) -> Iterator[_Row]:
    file, places = kept.files[index], kept.places[index]
    for record in sdf_records(each_line(source)):
        raw = mol_block(record, RAW_LIMIT)
        if kept.whole_records:
            yield _Row(raw, "", None, [with_fields(record, kept.fields)])
            continue
        of_record = fields(record) if places else {}
        values = [title(record), *map(of_record.get, file.names[1:])]
        yield _Row(raw, "", None, [None if place is None else values[place] for place in places])


# Parquet


@dataclass(frozen=True, slots=True)
class _ColumnsRead:
    """What is read of a file: the names of its columns, None for all, and where the kept ones are found among them."""

    names: Sequence[str] | None
    kept: Sequence[int | str | None]


def _parquet_tables(source: Source, index: int, kept: KeptColumns, limit: int | None) -> Iterator[pa.Table]:
    import pyarrow as pa

    if limit == 0:  # and a file that nothing is read of is not opened
        return
    first = 1
    try:
        with opened(source.path) as file:
            columns = _columns_read(source, file.schema_arrow.names, kept.places[index])
            for batch in file.iter_batches(ROWS_PER_BLOCK, columns=columns.names):
                left = batch.num_rows if limit is None else min(batch.num_rows, limit + 1 - first)
                if not left:
                    return
                rows = batch.slice(0, left)
                yield pa.table(
                    {**_parquet_cells(source, index, first, rows), **_kept_cells(rows, columns.kept, kept.types)}
                )
                first += left
    except UnreadableError as error:
        raise no_further(source, first - 1, error) from error


def _columns_read(source: Source, names: Sequence[str], kept: Sequence[int | None]) -> _ColumnsRead:
    """Choose what is read of a file with these columns: what is needed, or all where a name is that of several."""
    if len(set(names)) < len(names):
        return _ColumnsRead(None, kept)
    theirs = [None if place is None else names[place] for place in kept]
    needed = [molecule_column(source), *(column for _, column in source.columns), *theirs]
    return _ColumnsRead(list(dict.fromkeys(name for name in needed if name is not None)), theirs)


def _parquet_cells(source: Source, index: int, first: int, batch: pa.RecordBatch) -> dict[str, Any]:
    import pyarrow as pa

    rows = batch.num_rows
    columns = _numbered(index, first, rows, "smiles")
    molecules = _plain(batch.column(molecule_column(source)))
    raws = molecules.cast(pa.large_binary()).fill_null(b"").to_pylist()
    columns["raw"] = pa.array([raw[:RAW_LIMIT] for raw in raws], pa.binary())
    if source.columns:
        names = [name for name, _ in source.columns]
        shown = zip(*(batch.column(column).to_pylist() for _, column in source.columns), strict=True)
        columns["columns"] = pa.array([packed(names, values) for values in shown], pa.string())
    columns[DAMAGE] = pa.nulls(rows, pa.string())
    return columns


def _kept_cells(
    batch: pa.RecordBatch, theirs: Sequence[int | str | None], types: Sequence[pa.DataType]
) -> dict[str, Any]:
    import pyarrow as pa

    return {
        kept_name(number): pa.nulls(batch.num_rows, kind) if column is None else _as(kind, _plain(batch.column(column)))
        for number, (column, kind) in enumerate(zip(theirs, types, strict=True))
    }


def _plain(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _as(kind: pa.DataType, column: pa.Array) -> pa.Array:
    """Return a column, as text where other files of the library hold another type."""
    import pyarrow as pa

    if column.type == kind:
        return column
    return pa.array([None if value is None else str(cell_of(value)) for value in column.to_pylist()], pa.string())
