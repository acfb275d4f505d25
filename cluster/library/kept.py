"""Which columns of a library's files go into an output beside ours: the user's, under their own names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.library.columns import matching, told
from cluster.library.errors import LibraryError
from cluster.library.parquet import opened
from cluster.library.rows import column_names, each_line, no_further
from cluster.library.sdf import fields, sdf_records
from cluster.library.source import Source
from cluster.library.streams import UnreadableError
from cluster.table_file import RECORD, apart, write

if TYPE_CHECKING:
    import pyarrow as pa

ALL, NONE = "all", "none"
SMILES_FILE = ("smiles", "name")  # what a line of a SMILES file holds, and what follows it
TITLE = "title"  # the first line of a record of an SD file


@dataclass(frozen=True, slots=True)
class FileColumns:
    """The columns of one file.

    Attributes:
        names: all of them, each once: a repeated name has a mark.
        types: theirs, as Arrow calls them.
        smiles: the place of the one with the SMILES; None of an SD file.
    """

    names: tuple[str, ...]
    types: tuple[Any, ...]
    smiles: int | None


@dataclass(frozen=True, slots=True)
class KeptColumns:
    """The columns of a library that are kept.

    Attributes:
        names: in the output.
        types: theirs, as Arrow calls them.
        files: the columns of each file of the library.
        places: for each file the places of the kept columns among its own; None where it lacks one.
        holds_smiles: whether each row's SMILES is among what is kept.
        whole_records: whether records of SD files are kept as they are, as the one column `RECORD`.
        fields: that stay in whole records; None for all.
        within: names of the fields that stay in whole records, which ours must not repeat.
    """

    names: tuple[str, ...]
    types: tuple[Any, ...]
    files: tuple[FileColumns, ...]
    places: tuple[tuple[int | None, ...], ...]
    holds_smiles: bool = False
    whole_records: bool = False
    fields: tuple[str, ...] | None = None
    within: tuple[str, ...] = ()

    def schema(self, ours: pa.Schema) -> pa.Schema:
        """Return the schema of the kept columns with ours behind them; one of ours that would hide one has a mark."""
        import pyarrow as pa

        theirs = [pa.field(name, kind) for name, kind in zip(self.names, self.types, strict=True)]
        return pa.schema([*theirs, *map(pa.Field.with_name, ours, apart(ours.names, {*self.names, *self.within}))])

    def beside(self, rows: pa.Table, ours: pa.Table) -> pa.Table:
        """Return the kept columns of rows, as `cluster.library.whole_rows` reads them, with ours behind them."""
        import pyarrow as pa

        theirs = [rows[kept_name(place)].cast(kind) for place, kind in enumerate(self.types)]
        return pa.table([*theirs, *ours.columns], schema=self.schema(ours.schema))

    def write(self, blocks: Iterable[tuple[pa.Table, pa.Table]], ours: pa.Schema, out: Path) -> int:
        """Write the rows of a library, each with ours behind it, and return how many.

        Args:
            blocks: rows as `cluster.library.whole_rows` reads them, with as many rows of our columns.
            ours: the schema of our columns.
            out: a file of one of the kinds `cluster.table_file.BESIDE_ROWS`, which is replaced if it is there.

        Raises:
            UsageError: it does not end so, or its folder cannot be written.
            OutputError: the disk is full, or the folder cannot be written.
        """
        parts = (self.beside(rows, answers) for rows, answers in blocks)
        return write(parts, self.schema(ours), out, theirs=len(self.names))


def kept_name(place: int) -> str:
    """Return what a kept column is called among read rows, where a name of the user's could be one of ours."""
    return f"kept {place}"


def keep_columns(
    sources: Sequence[Source],
    keep: Sequence[str] = (),
    id_column: str | None = None,
    *,
    records: bool = False,
    limit: int | None = None,
) -> KeptColumns:
    """Choose the columns of a library's files that go into an output.

    Those of several files are all the names that any of them has. A column of different types in several files is
    kept as text. The fields of an SD file stand in its records, which are read for their names.

    Args:
        sources: the files.
        keep: names of columns, as `cluster.library.columns.matching` finds them, one or several with commas between
            them; or "all", which nothing means, too; or "none".
        id_column: the column that comes first.
        records: keep whole records of SD files, with the fields that `keep` names.
        limit: how many rows of the library are read.

    Raises:
        LibraryError: there is no such column, or more than one that could be meant, or a file has no records.
    """
    files = tuple(columns_of(source, limit) for source in sources)
    every = list(dict.fromkeys(name for file in files for name in file.names))
    names = _chosen(every, sources, keep, id_column)
    if records:
        return _whole_records(sources, files, names, everything=set(names) == set(every))
    places = tuple(tuple(file.names.index(name) if name in file.names else None for name in names) for file in files)
    types = tuple(_type(files, name) for name in names)
    holds_smiles = all(
        file.smiles is not None and file.smiles in there for file, there in zip(files, places, strict=True)
    )
    return KeptColumns(tuple(names), types, files, places, holds_smiles=holds_smiles)


def _chosen(every: Sequence[str], sources: Sequence[Source], keep: Sequence[str], id_column: str | None) -> list[str]:
    first = [_found(every, sources, id_column, "--id-column")] if id_column is not None else []
    if not keep or list(keep) == [ALL]:
        rest: Sequence[str] = every
    elif list(keep) == [NONE]:
        rest = ()
    else:
        rest = [_found(every, sources, name, "--keep-columns") for text in keep for name in _names(every, text)]
    return list(dict.fromkeys([*first, *rest]))


def _names(every: Sequence[str], text: str) -> list[str]:
    """Return the names in a text, with commas between them, unless it is itself one."""
    return [text] if matching(every, text) else [part.strip() for part in text.split(",") if part.strip()]


def _found(every: Sequence[str], sources: Sequence[Source], wanted: str, option: str) -> str:
    found = matching(every, wanted)
    if len(found) != 1:
        files = f"{sources[0].shown}{f' and {len(sources) - 1} more' if len(sources) > 1 else ''}"
        lacks = f"there is {'more than one' if found else 'no'} column {wanted!r}"
        raise LibraryError(f"{files}: {lacks}, which {option} names; there are: {told(every)}")
    return found[0]


def _whole_records(
    sources: Sequence[Source], files: tuple[FileColumns, ...], names: Sequence[str], *, everything: bool
) -> KeptColumns:
    import pyarrow as pa

    if other := next((source for source in sources if source.format != "sdf"), None):
        raise LibraryError(
            f"{other.shown} has no mol blocks that an SD file could hold: name an output that ends in .csv, .tsv, "
            ".parquet or .jsonl"
        )
    stay = None if everything else tuple(names)
    titles = {file.names[0] for file in files}
    return KeptColumns(
        (RECORD,),
        (pa.string(),),
        files,
        ((0,),) * len(files),
        whole_records=True,
        fields=stay,
        within=tuple(name for name in names if name not in titles),
    )


def _type(files: Sequence[FileColumns], name: str) -> Any:
    import pyarrow as pa

    types = {file.types[file.names.index(name)] for file in files if name in file.names}
    return types.pop() if len(types) == 1 else pa.string()


# The columns of a file


def columns_of(source: Source, limit: int | None = None) -> FileColumns:
    """Return the columns of a file; of an SD file, its title and the fields that any of its records has.

    Args:
        source: the file.
        limit: how many rows of it are read.

    Raises:
        LibraryError: it cannot be read, or its header cannot.
    """
    import pyarrow as pa

    if source.format == "parquet":
        return _parquet_columns(source)
    smiles: int | None
    if source.format == "smiles":
        names, smiles = list(SMILES_FILE), 0
    elif source.format == "sdf":
        found = list(dict.fromkeys(_fields(source, limit)))
        names, smiles = [*apart([TITLE], found), *found], None
    else:
        written = column_names(source)
        names, smiles = apart(written, ()), written.index(str(source.smiles_column))
    return FileColumns(tuple(names), (pa.string(),) * len(names), smiles)


def _parquet_columns(source: Source) -> FileColumns:
    import pyarrow as pa

    try:
        with opened(source.path) as file:
            schema: pa.Schema = file.schema_arrow
    except UnreadableError as error:
        raise no_further(source, 0, error) from error
    types = tuple(kind.value_type if pa.types.is_dictionary(kind) else kind for kind in schema.types)
    return FileColumns(tuple(apart(schema.names, ())), types, schema.names.index(source.smiles_column))


def _fields(source: Source, limit: int | None) -> Iterator[str]:
    """Yield the names of an SD file's fields; damage is told by whoever reads the file for its rows."""
    try:
        for number, record in enumerate(sdf_records(each_line(source))):
            if number == limit:
                return
            yield from fields(record)
    except UnreadableError:
        return
