"""From the files of a molecule library to a stream of numbered rows.

Nothing is parsed here, so nothing is refused here: whatever stands where a molecule should be travels on as bytes,
with its file and its row number, and is judged once, in `teacher.molecule`. What counts as a row:

- SMILES file: every line, empty ones and headers too; the molecule is what stands before the first white space.
- Tables as text: every record below the header, except blank lines. How they are written is found in the file: the
  separator (a comma, semicolon, tab or `|`), the quotes, the encoding, and lines above the header.
- SDF: every record, as `$$$$` separates them; the molecule is its mol block.
- Parquet: every row.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import has_magic
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from cluster.columns import smiles_columns, told
from cluster.delimited import COMMAS, SEPARATORS, Dialect, fitting, header, likeliest, records
from cluster.text_file import (
    COMPRESSIONS,
    UnreadableError,
    damage_told,
    find_encoding,
    first_lines,
    lines,
    reason,
    suffixes,
    without_login,
)
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from teacher.bounds import Notation

Format = Literal["smiles", "csv", "sdf", "parquet"]

FORMATS: dict[str, Format] = {
    ".smi": "smiles",
    ".smiles": "smiles",
    ".txt": "smiles",  # or a table, if its first line is the header of one
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".sdf": "sdf",
    ".sd": "sdf",
    ".parquet": "parquet",
}
TABLES = frozenset({"csv", "parquet"})
SEPARATOR_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": " "}

ROWS_PER_BLOCK = 4096
RAW_LIMIT = 2**18  # bytes of a molecule that travel; parsing refuses less than that as too long


class LibraryError(UsageError):
    """A library, or a file of it, cannot be read; the message says which, why, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(without_login(message))


class NoMoleculeError(LibraryError):
    """No row of a library holds a molecule, so nothing can come of it. Exit status 1."""

    exit_code = 1

    @classmethod
    def of(cls, sources: Sequence[Source], rows: int, then: str) -> NoMoleculeError:
        """Say it of some files, with what to do then."""
        more = f" and {counted(len(sources) - 1, 'more file')}" if len(sources) > 1 else ""
        files = f"{sources[0].shown}{more}"
        if rows == 0:
            return cls(f"There is no row in {files}: {then}.")
        return cls(f"None of the {counted(rows, 'row')} of {files} holds a molecule: {then}.")


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a library.

    Attributes:
        path: absolute local path, or any URL that fsspec opens.
        format: what it holds; "csv" is any table as text.
        smiles_column: the column with the SMILES, of tables only.
        encoding: what its text has to be rewritten from; None for UTF-8 and what else contains ASCII.
        dialect: how a table is written as text.
    """

    path: str
    format: Format
    smiles_column: str | None = None
    encoding: str | None = None
    dialect: Dialect = COMMAS

    @property
    def shown(self) -> str:
        """The path as it may be shown and kept: without the password that a URL may hold."""
        return without_login(self.path)


def resolve(
    patterns: Sequence[str],
    smiles_column: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
) -> list[Source]:
    """Find the files of a library and look into each, so that what can be known to fail fails at once.

    Args:
        patterns: paths, globs and fsspec URLs. A glob stands for its files in sorted order; a file that is named
            twice is taken once, where it comes first.
        smiles_column: the column with the SMILES in tables; by default the only one with a usual name
            (`cluster.columns.SMILES_COLUMNS`, in any case).
        separator: between the cells of tables as text, a character or a name out of `SEPARATOR_NAMES`; by default the
            one under which the header has such a column.
        encoding: of text files; by default UTF-16 and UTF-32 are recognised, and text that is not UTF-8 is taken for
            Western.

    Raises:
        LibraryError: a pattern matches nothing, a name is a directory or has an unknown suffix, a file cannot be
            opened or does not begin as its suffix says, it has no such column or several that could be meant, or
            something is named that none of the files has.
    """
    formats = {path: _format(path) for pattern in patterns for path in _expand(pattern)}
    named = _Named(smiles_column, _separator(separator), _encoding(encoding))
    sources = [_look_into(path, kind, named) for path, kind in formats.items()]
    _check_use(sources, named)
    return sources


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


def column_names(source: Source) -> list[str]:
    """Return the names of all columns of a table.

    Raises:
        LibraryError: as `read` does.
    """
    if source.format == "csv":
        return next(read_records(source), [])
    try:
        with _parquet(source.path) as file:
            names: list[str] = file.schema_arrow.names
            return names
    except UnreadableError as error:
        raise _no_further(source, 0, error) from error


def data_name(path: str) -> str:
    """Return the name of a file without what only says how it is written: "2024.03.15_screen" of its .csv.gz."""
    name = PurePosixPath(path).name
    for known in (COMPRESSIONS, FORMATS):
        bare, dot, suffix = name.rpartition(".")
        if bare and f"{dot}{suffix}".lower() in known:
            name = bare
    return name


def read_records(source: Source) -> Iterator[list[str]]:
    """Stream the records of a table as text, the names of its columns first.

    Yields:
        Lists of cells, in which bytes that are not UTF-8 are surrogates; without any where quotes make no sense.

    Raises:
        LibraryError: as `read` does.
    """
    row = 0
    try:
        for row, record in enumerate(_records(source)):  # noqa: B007  the header is number 0
            yield record
    except UnreadableError as error:
        raise _no_further(source, row, error) from error


# Finding files


def _expand(pattern: str) -> list[str]:
    """Return the paths of the files that a path, glob or URL stands for, good from any working directory."""
    import fsspec.core
    from fsspec.implementations.local import LocalFileSystem

    try:
        fs, path = fsspec.core.url_to_fs(pattern)
        found = _find(fs, path)
    except (OSError, ImportError, ValueError) as error:  # the last two: no such protocol, or its package is missing
        raise LibraryError(f"{pattern} cannot be opened: {reason(error)}; check the path or URL") from error
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
    kind, compression = suffixes(path)
    if kind not in FORMATS or (FORMATS[kind] == "parquet" and compression):
        known = " ".join(FORMATS)
        raise LibraryError(
            f"{path} has no suffix that says what it is; known are {known}, "
            f"all but .parquet also followed by {' or '.join(COMPRESSIONS)}"
        )
    return FORMATS[kind]


# Looking into files


@dataclass(frozen=True, slots=True)
class _Named:
    """What the user says of the files rather than leaving it to be found; None is not said."""

    smiles_column: str | None
    separator: str | None
    encoding: str | None


def _look_into(path: str, kind: Format, named: _Named) -> Source:
    """Read the beginning of a file, and return how the rest is to be read."""
    try:
        if kind == "parquet":
            return Source(path, kind, _choose_column(path, _parquet_columns(path), named.smiles_column))
        encoding = find_encoding(path, named.encoding)
        if kind == "csv" or suffixes(path)[0] == ".txt":
            table = _as_table(path, encoding, named, doubtful=kind != "csv")
            if table:
                return table
    except UnreadableError as error:
        raise LibraryError(f"{path} cannot be read: {error}; check the file, or leave it out") from error
    return Source(path, kind, encoding=encoding)


def _as_table(path: str, encoding: str | None, named: _Named, *, doubtful: bool) -> Source | None:
    """Find out how a table is written as text; return None where it is doubtful and turns out to be none."""
    head = first_lines(path, encoding)
    usual = "\t" if suffixes(path)[0] in (".tsv", ".tab") else ","
    separators = [named.separator] if named.separator else sorted(SEPARATORS, key=lambda one: one != usual)

    def is_header(names: list[str]) -> bool:
        return len(smiles_columns(names, named.smiles_column)) == 1

    dialect = fitting(head, is_header, separators)
    if doubtful and not dialect and not (named.smiles_column or named.separator):
        return None
    dialect = dialect or likeliest(head, separators)
    return Source(path, "csv", _choose_column(path, header(head, dialect), named.smiles_column), encoding, dialect)


def _choose_column(path: str, columns: Sequence[str], wanted: str | None) -> str:
    found = smiles_columns(columns, wanted)
    if len(found) == 1:
        return found[0]
    if wanted is None:
        lacks = "it is not clear which column holds the SMILES"
    else:
        lacks = f"there is {'more than one' if found else 'no'} text column {wanted!r}"
    help_too = "" if len(columns) > 1 else ", or what separates the columns with --separator"
    raise LibraryError(
        f"{path}: {lacks}; name one with --smiles-column{help_too} (there are: {told(columns) or 'none'})"
    )


def _separator(wanted: str | None) -> str | None:
    """Return the character that the user names as a separator."""
    found = SEPARATOR_NAMES.get(wanted.lower(), wanted) if wanted is not None else None
    if found is not None and (len(found) != 1 or found in "\r\n\"'"):
        names = ", ".join(name for name in SEPARATOR_NAMES if name.isalpha())
        raise LibraryError(f"--separator {found!r} is not one character that can separate cells; known names: {names}")
    return found


def _encoding(wanted: str | None) -> str | None:
    """Check that Python knows the encoding that the user names."""
    if wanted is None:
        return None
    try:
        codec = codecs.lookup(wanted)
    except (LookupError, ValueError):
        codec = None
    if codec is None or not codec._is_text_encoding or codec.incrementaldecoder is None:
        raise LibraryError(f"There is no encoding {wanted!r}; usual ones are utf-8, utf-16, cp1252 and latin-1")
    return codec.name


def _check_use(sources: Sequence[Source], named: _Named) -> None:
    """Refuse what is said of files of another kind than any that there is: it was meant to change something."""
    kinds = {source.format for source in sources}
    for option, value, useful in (
        ("--smiles-column", named.smiles_column, TABLES),
        ("--separator", named.separator, {"csv"}),
        ("--encoding", named.encoding, set(FORMATS.values()) - {"parquet"}),
    ):
        if value is not None and not kinds & useful:
            what = {"--smiles-column": "a table", "--separator": "a table as text", "--encoding": "text"}[option]
            raise LibraryError(f"{option} says nothing about {sources[0].path}, which is not {what}: leave it out")


# Rows


def _blocks(source: Source, limit: int | None) -> Iterator[list[bytes]]:
    """Yield the molecules of a file in lists of 1 to `ROWS_PER_BLOCK`; what was read before damage comes first."""
    molecules = islice(_molecules(source), limit)
    rows = 0
    while True:
        block: list[bytes] = []
        try:
            block.extend(islice(molecules, ROWS_PER_BLOCK))  # keeps what came before an error
        except UnreadableError as error:
            rows += len(block)
            if block:
                yield block
            raise _no_further(source, rows, error) from error
        if not block:
            return
        yield block
        rows += len(block)


def _no_further(source: Source, rows: int, error: UnreadableError) -> LibraryError:
    return LibraryError(f"{source.path} can be read no further than row {rows:,}: {error}; replace it by a whole copy")


def _molecules(source: Source) -> Iterator[bytes]:
    if source.format == "smiles":
        return _smiles(source)
    if source.format == "sdf":
        return _mol_blocks(source)
    return (_text_cells if source.format == "csv" else _parquet_cells)(source, _column(source))


def _column(source: Source) -> str:
    if source.smiles_column is None:
        raise ValueError(f"{source} needs a smiles_column")
    return source.smiles_column


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


def _smiles(source: Source) -> Iterator[bytes]:
    """Return the first word of every line, empty if it has none."""
    empty = [b""]
    return chain.from_iterable(
        [(line.split(None, 1) or empty)[0][:RAW_LIMIT] for line in some] for some in lines(source.path, source.encoding)
    )


def _text_cells(source: Source, column: str) -> Iterator[bytes]:
    """Yield the cells of one column, empty where a record is too short to have it or cannot be read."""
    found = _records(source)
    names = next(found, [])
    if column not in names:
        raise UnreadableError(f"it has no column {column!r}")
    place = names.index(column)
    for record in found:
        cell = record[place] if place < len(record) else ""
        yield cell.encode(errors="surrogateescape")[:RAW_LIMIT]


def _records(source: Source) -> Iterator[list[str]]:
    every_line = chain.from_iterable(lines(source.path, source.encoding))
    return records(every_line, source.dialect, source.smiles_column)


def _mol_blocks(source: Source) -> Iterator[bytes]:
    """Yield each record up to its line "M  END", or whole if it has none."""
    block: list[bytes] = []
    size = 0
    ended = False
    for line in chain.from_iterable(lines(source.path, source.encoding)):
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


def _parquet_cells(source: Source, column: str) -> Iterator[bytes]:
    import pyarrow as pa

    with _parquet(source.path) as file:
        if column not in file.schema_arrow.names:
            raise UnreadableError(f"it has no column {column!r}")
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
    except UnreadableError as error:
        raise LibraryError(f"{path} cannot be read: {error}; check the file") from error


@contextmanager
def _parquet(path: str) -> Iterator[Any]:
    import fsspec
    import pyarrow as pa
    import pyarrow.parquet as pq

    with damage_told(pa.ArrowException), fsspec.open(path, "rb") as file:
        yield pq.ParquetFile(file)
