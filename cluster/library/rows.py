"""From the files of a molecule library to a stream of numbered rows.

Nothing is parsed here, so nothing is refused here: whatever stands where a molecule should be travels on as bytes,
with its file and its row number, and is judged once, in `teacher.chemistry.molecule`. What counts as a row:

- SMILES file: every line, empty ones and headers too; the molecule is what stands before the first white space.
- Tables as text: every record below the header, except blank lines. How they are written is found in the file: the
  separator (a comma, semicolon, tab or `|`), the quotes, the encoding, and lines above the header.
- SDF: every record, as `$$$$` separates them; the molecule is its mol block.
- Parquet: every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, TypeVar

from cluster.library.delimited import records
from cluster.library.errors import LibraryError
from cluster.library.parquet import opened
from cluster.library.sdf import mol_block, sdf_records
from cluster.library.source import Source
from cluster.library.streams import UnreadableError, lines, text
from teacher.llm.row_columns import pack_cells, shown

if TYPE_CHECKING:
    import pyarrow as pa

    from teacher.chemistry.bounds import Notation

T = TypeVar("T")

ROWS_PER_BLOCK = 4096
RAW_LIMIT = 2**18  # bytes of a molecule that travel; parsing refuses less than that as too long


def read(source: Source, index: int, limit: int | None = None) -> Iterator[pa.Table]:
    """Stream the rows of one file.

    Args:
        source: the file, as `resolve` found it.
        index: the number that its rows carry as their source.
        limit: read this many rows at most.

    Yields:
        Tables of 1 to `ROWS_PER_BLOCK` rows with the columns `source` (int32: `index`), `row` (int64: 1, 2, 3, ...
        over the file), `raw` (binary: the bytes of the molecule as they stand in the file, at most `RAW_LIMIT` of
        them) and `notation` (string: "smiles" or "molblock"). A source with columns adds `columns` (string: the cells,
        as prompts show them, as `teacher.llm.row_columns.pack_cells` writes them).

    Raises:
        LibraryError: the file ends too early, is corrupt, or cannot be read any further; every whole row before that
            place has been yielded, and the message counts them.
    """
    row = 1
    notation: Notation = "molblock" if source.format == "sdf" else "smiles"
    if source.columns:
        for block in in_blocks(source, _molecules_with_cells(source), limit):
            table = _table([raw for raw, _ in block], index, row, notation)
            yield table.append_column("columns", [[columns for _, columns in block]])
            row += len(block)
        return
    for raws in in_blocks(source, _molecules(source), limit):
        yield _table(raws, index, row, notation)
        row += len(raws)


def read_all(sources: Sequence[Source], limit: int | None = None) -> Iterator[pa.Table]:
    """Stream the rows of a whole library, file after file, or its first `limit` rows.

    A limit is a matter of order: how many rows of a file are among the first N is known only after the files before
    it. So whoever reads files side by side takes them whole, and whoever has a limit reads in this one stream.

    Yields:
        Tables as `read` does; `source` is the place of the file in `sources`.

    Raises:
        LibraryError: as `read` does.
    """
    for index, source in enumerate(sources):
        for table in read(source, index, limit):
            yield table
            if limit is not None:
                limit -= table.num_rows


def behind(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield what of tables stands behind their first so many rows."""
    for table in tables:
        if rows < table.num_rows:
            yield table.slice(rows)
        rows = max(0, rows - table.num_rows)


def count(sources: Sequence[Source], limit: int | None = None) -> int:
    """Count the rows that `read_all` yields, without making tables of them.

    Raises:
        LibraryError: as `read` does; of Parquet, only the file's own count is read.
    """
    return sum(block_sizes(sources, limit))


def block_sizes(sources: Sequence[Source], limit: int | None = None) -> Iterator[int]:
    """Count the rows that `read_all` yields, block after block, so that a count can be given up on its way.

    Yields:
        Numbers of rows, whose sum is what `count` returns.

    Raises:
        LibraryError: as `count` does.
    """
    total = 0
    for source in sources:
        if total == limit:
            break
        for rows in _block_sizes(source, None if limit is None else limit - total):
            total += rows
            yield rows


def column_names(source: Source) -> list[str]:
    """Return the names of all columns of a table.

    Raises:
        LibraryError: as `read` does.
    """
    if source.format == "csv":
        return next(read_records(source), [])
    try:
        with opened(source.path) as file:
            names: list[str] = file.schema_arrow.names
            return names
    except UnreadableError as error:
        raise no_further(source, 0, error) from error


def read_records(source: Source) -> Iterator[list[str]]:
    """Stream the records of a table as text, the names of its columns first.

    Yields:
        Lists of cells, in which bytes that are not UTF-8 are surrogates; without any where quotes make no sense.

    Raises:
        LibraryError: as `read` does.
    """
    row = 0
    try:
        for row, record in enumerate(text_records(source)):  # noqa: B007  the header is number 0
            yield record
    except UnreadableError as error:
        raise no_further(source, row, error) from error


# Rows


def in_blocks(source: Source, every: Iterator[T], limit: int | None, size: int = ROWS_PER_BLOCK) -> Iterator[list[T]]:
    """Yield the rows of a file in lists of 1 to `size`; what was read before damage comes first.

    Raises:
        LibraryError: as `read` does.
    """
    rows_left = islice(every, limit)
    rows = 0
    while True:
        block: list[T] = []
        try:
            block.extend(islice(rows_left, size))  # keeps what came before an error
        except UnreadableError as error:
            rows += len(block)
            if block:
                yield block
            raise no_further(source, rows, error) from error
        if not block:
            return
        yield block
        rows += len(block)


def no_further(source: Source, rows: int, error: UnreadableError) -> LibraryError:
    """Return what is said of a file that is damaged behind some row."""
    return LibraryError(f"{source.path} can be read no further than row {rows:,}: {error}; replace it by a whole copy")


def _molecules(source: Source) -> Iterator[bytes]:
    if source.format == "smiles":
        return _smiles(source)
    if source.format == "sdf":
        return _mol_blocks(source)
    if source.format == "csv":
        return (raw_molecule(cell) for (cell,) in _text_cells(source, [molecule_column(source)]))
    return (raw for raw, _ in _parquet_cells(source, molecule_column(source)))


def _molecules_with_cells(source: Source) -> Iterator[tuple[bytes, str]]:
    """Yield molecules with the cells of their rows that prompts show."""
    names, columns = [name for name, _ in source.columns], [column for _, column in source.columns]
    if source.format == "csv":
        for molecule, *cells in _text_cells(source, [molecule_column(source), *columns]):
            yield raw_molecule(molecule), packed(names, map(cell_text, cells))
        return
    for raw, values in _parquet_cells(source, molecule_column(source), columns):
        yield raw, packed(names, values)


def packed(names: Sequence[str], values: Iterable[Any]) -> str:
    """Return the cells that prompts show, by the prompt's names for their columns, as records are known by them."""
    seen = (shown("" if value is None else str(value)) for value in values)
    return pack_cells(dict(zip(names, seen, strict=True)))


def cell_text(cell: str) -> str:
    """Return what a cell says, in which bytes that are not UTF-8 are surrogates."""
    return cell if cell.isascii() else text(cell.encode(errors="surrogateescape"))


def molecule_column(source: Source) -> str:
    """Return the column of a table that holds the SMILES."""
    if source.smiles_column is None:
        raise ValueError(f"{source} needs a smiles_column")
    return source.smiles_column


def _block_sizes(source: Source, limit: int | None) -> Iterator[int]:
    if source.format != "parquet":
        yield from map(len, in_blocks(source, _molecules(source), limit))
        return
    rows = _parquet_rows(source.path)
    yield rows if limit is None else min(rows, limit)


def _table(raws: list[bytes], index: int, row: int, notation: Notation) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "source": pa.repeat(pa.scalar(index, pa.int32()), len(raws)),
            "row": pa.array(range(row, row + len(raws)), pa.int64()),
            "raw": pa.array(raws, pa.binary()),
            "notation": pa.repeat(pa.scalar(notation, pa.string()), len(raws)),
        }
    )


# Formats


def _smiles(source: Source) -> Iterator[bytes]:
    """Return the first word of every line, empty if it has none."""
    empty = [b""]
    return chain.from_iterable(
        [(line.split(None, 1) or empty)[0][:RAW_LIMIT] for line in some] for some in lines(source.path, source.encoding)
    )


def _text_cells(source: Source, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yield the cells of some columns, empty where a record is too short to have one or cannot be read."""
    found = text_records(source)
    names = next(found, [])
    if missing := [column for column in columns if column not in names]:
        raise UnreadableError(f"it has no column {missing[0]!r}")
    places = [names.index(column) for column in columns]
    for record in found:
        yield [record[place] if place < len(record) else "" for place in places]


def each_line(source: Source) -> Iterator[bytes]:
    """Yield the lines of a text file, with their ends."""
    return chain.from_iterable(lines(source.path, source.encoding))


def raw_molecule(cell: str) -> bytes:
    """Return the bytes of a cell with a SMILES, as many as travel."""
    return cell.encode(errors="surrogateescape")[:RAW_LIMIT]


def text_records(source: Source) -> Iterator[list[str]]:
    """Yield the records of a table as text, as `cluster.library.delimited.records` does."""
    return records(each_line(source), source.dialect, source.smiles_column)


def _mol_blocks(source: Source) -> Iterator[bytes]:
    """Yield the mol block of each record: up to its line "M  END", or whole if it has none."""
    return (mol_block(record, RAW_LIMIT) for record in sdf_records(each_line(source)))


def _parquet_cells(source: Source, column: str, others: Sequence[str] = ()) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    """Yield the cells of one column, each with the values of others in its row."""
    import pyarrow as pa

    wanted = list(dict.fromkeys([column, *others]))
    with opened(source.path) as file:
        if missing := [name for name in wanted if name not in file.schema_arrow.names]:
            raise UnreadableError(f"it has no column {missing[0]!r}")
        for batch in file.iter_batches(ROWS_PER_BLOCK, columns=wanted):
            cells = batch.column(column)
            if pa.types.is_dictionary(cells.type):
                cells = cells.dictionary_decode()
            raws = cells.cast(pa.large_binary()).fill_null(b"").to_pylist()
            values = zip(*(batch.column(name).to_pylist() for name in others), strict=True) if others else repeat(())
            for raw, of_row in zip(raws, values, strict=False):
                yield raw[:RAW_LIMIT], of_row


def _parquet_rows(path: str) -> int:
    try:
        with opened(path) as file:
            rows: int = file.metadata.num_rows
            return rows
    except UnreadableError as error:
        raise LibraryError(f"{path} cannot be read: {error}; check the file") from error
