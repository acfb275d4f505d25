"""From the files of a molecule library to a stream of numbered rows.

Nothing is parsed here, so nothing is refused here: whatever stands where a molecule should be travels on as bytes,
with its file and its row number, and is judged once, in `teacher.molecule`. What counts as a row:

- SMILES file: every line, empty ones and headers too; the molecule is what stands before the first white space.
- CSV and TSV: every record below the header, except blank lines.
- SDF: every record, as `$$$$` separates them; the molecule is its mol block.
- Parquet: every row.
"""

from __future__ import annotations

import codecs
import csv
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from glob import has_magic
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Protocol

from teacher.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from teacher.molecule import Notation

Format = Literal["smiles", "csv", "sdf", "parquet"]

FORMATS: dict[str, Format] = {
    ".smi": "smiles",
    ".smiles": "smiles",
    ".txt": "smiles",
    ".csv": "csv",
    ".tsv": "csv",
    ".sdf": "sdf",
    ".sd": "sdf",
    ".parquet": "parquet",
}
COMPRESSIONS = (".gz", ".zst")  # of everything but Parquet, which compresses by itself
SMILES_COLUMNS = frozenset({"smiles", "smi", "canonical_smiles", "isomeric_smiles"})

ROWS_PER_BLOCK = 4096
LINE_LIMIT = 2**20  # bytes of a line, or of a CSV record, beyond which the rest is skipped
RAW_LIMIT = 2**18  # bytes of a molecule that travel; parsing refuses less than that as too long
CHUNK = 2**18  # bytes of text at a time
COLUMNS_TOLD = 20  # in a message
FEED = 2**10  # compressed bytes at a time: in Zstandard, 4 bytes may stand for 128 KiB


class LibraryError(UsageError):
    """A library, or a file of it, cannot be read; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a library.

    Attributes:
        path: absolute local path, or any URL that fsspec opens.
        format: what its suffix says it holds.
        smiles_column: the column with the SMILES, in CSV and Parquet only.
    """

    path: str
    format: Format
    smiles_column: str | None = None


def resolve(patterns: Sequence[str], smiles_column: str | None = None) -> list[Source]:
    """Find the files of a library and look into each, so that what can be known to fail fails at once.

    Args:
        patterns: paths, globs and fsspec URLs. A glob stands for its files in sorted order; a file that is named
            twice is taken once, where it comes first.
        smiles_column: the column with the SMILES in CSV and Parquet files; by default the only one with a usual name
            (`SMILES_COLUMNS`, in any case).

    Raises:
        LibraryError: a pattern matches nothing, a name is a directory or has an unknown suffix, a file cannot be
            opened or does not begin as its suffix says, or it has no such column or several that could be meant.
    """
    formats = {path: _format(path) for pattern in patterns for path in _expand(pattern)}
    return [Source(path, kind, _look_into(path, kind, smiles_column)) for path, kind in formats.items()]


def read(source: Source, index: int, limit: int | None = None) -> Iterator[pa.Table]:
    """Stream the rows of one file.

    Args:
        source: the file, as `resolve` found it.
        index: the number that its rows carry as their source.
        limit: read this many rows at most.

    Yields:
        Tables of 1 to `ROWS_PER_BLOCK` rows with the columns `source` (int32: `index`), `row` (int64: 1, 2, 3, ...
        over the file), `raw` (binary: the bytes of the molecule as they stand in the file, at most `RAW_LIMIT` of
        them) and `notation` (string: "smiles" or "molblock").

    Raises:
        LibraryError: the file ends too early, is corrupt, or cannot be read any further; every whole row before that
            place has been yielded, and the message counts them.
    """
    row = 1
    for raws in _blocks(source, limit):
        yield _table(raws, index, row, "molblock" if source.format == "sdf" else "smiles")
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


def count(sources: Sequence[Source], limit: int | None = None) -> int:
    """Count the rows that `read_all` yields, without making tables of them.

    Raises:
        LibraryError: as `read` does; of Parquet, only the file's own count is read.
    """
    total = 0
    for source in sources:
        total += _count(source, None if limit is None else limit - total)
    return total


# Finding files


def _expand(pattern: str) -> list[str]:
    """Return the paths of the files that a path, glob or URL stands for, good from any working directory."""
    import fsspec.core
    from fsspec.implementations.local import LocalFileSystem

    try:
        fs, path = fsspec.core.url_to_fs(pattern)
        found = _find(fs, path)
    except (OSError, ImportError, ValueError) as error:  # the last two: no such protocol, or its package is missing
        raise LibraryError(f"{pattern} cannot be opened: {_reason(error)}; check the path or URL") from error
    if not found:
        raise LibraryError(f"No file matches {pattern}; check the path (relative to where the command is run)")
    for name, info in found.items():
        if info["type"] == "directory":
            raise LibraryError(f"{name} is a directory; name its files, for example {name}/*.smi")
    if isinstance(fs, LocalFileSystem):
        return sorted(found)
    return [pattern] if path in found else sorted(map(fs.unstrip_protocol, found))


def _find(fs: Any, path: str) -> dict[str, Any]:
    """Return what `fs` knows of the file at `path`, or else of those that it matches as a glob, by their names."""
    try:
        return {path: fs.info(path)}  # first of all, for a file may be called "a[1].smi"
    except FileNotFoundError:
        found: dict[str, Any] = fs.glob(path, detail=True) if has_magic(path) else {}
        return found


def _format(path: str) -> Format:
    kind, compression = _suffixes(path)
    if kind not in FORMATS or (FORMATS[kind] == "parquet" and compression):
        known = " ".join(FORMATS)
        raise LibraryError(
            f"{path} has no suffix that says what it is; known are {known}, "
            f"all but .parquet also followed by {' or '.join(COMPRESSIONS)}"
        )
    return FORMATS[kind]


def _suffixes(path: str) -> tuple[str, str]:
    """Return the suffix of the format and that of the compression: ".smi" and ".zst", or ".smi" and ""."""
    name = PurePosixPath(path.lower())
    if name.suffix in COMPRESSIONS:
        return PurePosixPath(name.stem).suffix, name.suffix
    return name.suffix, ""


def _look_into(path: str, kind: Format, smiles_column: str | None) -> str | None:
    """Read the beginning of a file, and return its SMILES column if it has columns."""
    try:
        if kind == "csv":
            return _choose_column(path, next(_records(path), []), smiles_column)
        if kind == "parquet":
            return _choose_column(path, _parquet_columns(path), smiles_column)
        next(_pieces(path), b"")
    except _UnreadableError as error:
        raise LibraryError(f"{path} cannot be read: {error}; check the file, or leave it out") from error
    return None


def _choose_column(path: str, columns: Sequence[str], wanted: str | None) -> str:
    usual = [column for column in columns if column.strip().lower() in SMILES_COLUMNS]
    if wanted is None and len(usual) == 1:
        return usual[0]
    if wanted is not None and wanted in columns:
        return wanted
    lacks = "it is not clear which column holds the SMILES" if wanted is None else f"there is no text column {wanted!r}"
    there = ", ".join(columns[:COLUMNS_TOLD]) + (" and more" if len(columns) > COLUMNS_TOLD else "")
    raise LibraryError(f"{path}: {lacks}; name one with --smiles-column (there are: {there or 'none'})")


# Rows


def _blocks(source: Source, limit: int | None) -> Iterator[list[bytes]]:
    """Yield the molecules of a file in lists of 1 to `ROWS_PER_BLOCK`; what was read before damage comes first."""
    molecules = islice(_molecules(source), limit)
    rows = 0
    while True:
        block: list[bytes] = []
        try:
            block.extend(islice(molecules, ROWS_PER_BLOCK))  # keeps what came before an error
        except _UnreadableError as error:
            rows += len(block)
            if block:
                yield block
            raise LibraryError(
                f"{source.path} can be read no further than row {rows:,}: {error}; replace it by a whole copy"
            ) from error
        if not block:
            return
        yield block
        rows += len(block)


def _molecules(source: Source) -> Iterator[bytes]:
    if source.format == "smiles":
        return _smiles(source.path)
    if source.format == "sdf":
        return _mol_blocks(source.path)
    if source.smiles_column is None:
        raise ValueError(f"{source} needs a smiles_column")
    return (_csv_cells if source.format == "csv" else _parquet_cells)(source.path, source.smiles_column)


def _count(source: Source, limit: int | None) -> int:
    if source.format != "parquet":
        return sum(map(len, _blocks(source, limit)))
    rows = _parquet_rows(source.path)
    return rows if limit is None else min(rows, limit)


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


def _smiles(path: str) -> Iterator[bytes]:
    """Return the first word of every line, empty if it has none."""
    empty = [b""]
    return chain.from_iterable(
        [(line.split(None, 1) or empty)[0][:RAW_LIMIT] for line in lines] for lines in _lines(path)
    )


def _csv_cells(path: str, column: str) -> Iterator[bytes]:
    """Yield the cells of one column, empty where a record is too short to have it or cannot be read."""
    records = _records(path)
    header = next(records, [])
    if column not in header:
        raise _UnreadableError(f"it has no column {column!r}")
    place = header.index(column)
    for record in records:
        cell = record[place] if place < len(record) else ""
        yield cell.encode(errors="surrogateescape")[:RAW_LIMIT]


def _records(path: str) -> Iterator[list[str]]:
    """Yield the records of a CSV file, the header first; blank lines are none.

    A record that breaks the rules of quoting costs its own line only: it comes out as a record without cells, and
    reading goes on with the next line. So a quote that is opened and never closed does not swallow what follows: it
    is found out where a quote comes that cannot close it, after `LINE_LIMIT` bytes, or at the end of the file, and the
    lines up to there are read again.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))  # by default a long comment would be an error
    delimiter = "\t" if _suffixes(path)[0] == ".tsv" else ","
    feed = _RecordFeed(chain.from_iterable(_lines(path)))
    while True:
        try:
            for record in csv.reader(feed.lines(), delimiter=delimiter, strict=True):
                feed.accept()
                if record:
                    yield record
            return
        except csv.Error:
            feed.reject()
            yield []


class _RecordFeed:
    """Hands lines to a CSV reader, and those of a broken record a second time."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._fresh = lines
        self._again: list[bytes] = []  # the next one last
        self._record: list[bytes] = []
        self._size = 0

    def lines(self) -> Iterator[str]:
        """Yield line after line, with bytes that are not UTF-8 as surrogates.

        Raises:
            csv.Error: the record grows too long, or the file ends within it.
        """
        while line := self._again.pop() if self._again else next(self._fresh, b""):
            self._record.append(line)
            self._size += len(line)
            if self._size >= LINE_LIMIT:
                raise csv.Error("the record is too long")
            yield line.decode(errors="surrogateescape")
        if self._record:
            raise csv.Error("the file ends within quotes")

    def accept(self) -> None:
        """Take the lines handed out so far for whole records."""
        self._record.clear()
        self._size = 0

    def reject(self) -> None:
        """Give up the first line of the record at hand, and hand out the others again."""
        self._again.extend(reversed(self._record[1:]))
        self.accept()


def _mol_blocks(path: str) -> Iterator[bytes]:
    """Yield each record up to its line "M  END", or whole if it has none."""
    block: list[bytes] = []
    size = 0
    ended = False
    for line in chain.from_iterable(_lines(path)):
        if line.startswith(b"$$$$"):
            yield b"".join(block)[:RAW_LIMIT]
            block, size, ended = [], 0, False
        elif not ended:
            block.append(line)
            size += len(line)
            ended = line.startswith(b"M  END") or size > RAW_LIMIT
    last = b"".join(block)
    if last.strip():
        yield last[:RAW_LIMIT]


def _parquet_cells(path: str, column: str) -> Iterator[bytes]:
    import pyarrow as pa

    with _parquet(path) as file:
        if column not in file.schema_arrow.names:
            raise _UnreadableError(f"it has no column {column!r}")
        for batch in file.iter_batches(ROWS_PER_BLOCK, columns=[column]):
            cells = batch.column(0)
            if pa.types.is_dictionary(cells.type):
                cells = cells.dictionary_decode()
            for cell in cells.cast(pa.large_binary()).fill_null(b"").to_pylist():
                yield cell[:RAW_LIMIT]


def _parquet_columns(path: str) -> list[str]:
    """Return the names of the columns that hold text."""
    import pyarrow as pa

    texts = {pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()}
    with _parquet(path) as file:
        schema = file.schema_arrow
    types = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in schema.types]
    return [name for name, kind in zip(schema.names, types, strict=True) if kind in texts]


def _parquet_rows(path: str) -> int:
    try:
        with _parquet(path) as file:
            rows: int = file.metadata.num_rows
            return rows
    except _UnreadableError as error:
        raise LibraryError(f"{path} cannot be read: {error}; check the file") from error


@contextmanager
def _parquet(path: str) -> Iterator[Any]:
    import fsspec
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _damage_told(pa.ArrowException), fsspec.open(path, "rb") as file:
        yield pq.ParquetFile(file)


# Bytes


class _UnreadableError(Exception):
    """The bytes of a file are not to be had: it is gone, forbidden, cut off or corrupt."""


@contextmanager
def _damage_told(*kinds: type[Exception]) -> Iterator[None]:
    """Turn the errors of the disk, of the network and of a decoder (`kinds`) into `_UnreadableError`."""
    damage: tuple[type[Exception], ...] = (OSError, EOFError, *kinds)
    try:
        yield
    except damage as error:
        raise _UnreadableError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Return what an error says, without the path that the message names anyway."""
    return getattr(error, "strerror", None) or str(error).rstrip(".")


def _lines(path: str) -> Iterator[list[bytes]]:
    """Yield the lines of a text file, with their ends, in lists.

    Lines end as in Python's own text files: in LF, CRLF or CR. Of a line beyond `LINE_LIMIT` bytes only so many are
    kept, and a line that damage has cut off never comes.
    """
    tail = b""
    for piece in _without_bom(_pieces(path)):
        lines = (tail + piece).splitlines(keepends=True)
        tail = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if len(tail) > LINE_LIMIT:
            tail = tail[:LINE_LIMIT] + tail[-1:]  # its last byte may be one half of CRLF
        if lines:
            lines[0] = lines[0][:LINE_LIMIT]  # no other is longer than a piece
            yield lines
    if tail:
        yield [tail[:LINE_LIMIT]]


def _without_bom(pieces: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    while len(head) < len(codecs.BOM_UTF8) and (piece := next(pieces, b"")):
        head += piece
    yield head.removeprefix(codecs.BOM_UTF8)
    yield from pieces


def _pieces(path: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, at most `CHUNK` at a time and never none.

    Raises:
        _UnreadableError: it cannot be opened or read, or its compressed data are cut off or corrupt.
    """
    import fsspec

    new_decoder, error = _decoder(path)
    with _damage_told(error), fsspec.open(path, "rb") as file:
        if new_decoder is None:
            yield from iter(partial(file.read, CHUNK), b"")
        else:
            yield from _decompress(iter(partial(file.read, FEED), b""), new_decoder)


class _Decoder(Protocol):
    """What zlib and zstandard have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _decoder(path: str) -> tuple[Callable[[], _Decoder] | None, type[Exception]]:
    """Return what makes a decoder for a compressed file, and the error by which it tells corrupt data."""
    compression = _suffixes(path)[1]
    if compression == ".zst":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj, zstandard.ZstdError
    if compression == ".gz":
        return partial(zlib.decompressobj, wbits=31), zlib.error  # 31: with the header and checksum of gzip
    return None, zlib.error


def _decompress(compressed: Iterable[bytes], new_decoder: Callable[[], _Decoder]) -> Iterator[bytes]:
    """Yield the content of compressed frames, one after the other.

    Raises:
        EOFError: the data end within a frame (`zstandard`'s own stream reader takes that for the end of the file).
    """
    decoder = new_decoder()
    for data in compressed:
        rest = data
        while rest:
            if decoder.eof:
                decoder = new_decoder()
            content = decoder.decompress(rest)
            for start in range(0, len(content), CHUNK):
                yield content[start : start + CHUNK]
            rest = decoder.unused_data
    if not decoder.eof:
        raise EOFError("its compressed data are cut off")
