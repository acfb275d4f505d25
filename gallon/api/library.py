"""Libraries and stores as callers name them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from os import PathLike, fspath
from pathlib import Path

from cluster.library.cells import with_columns
from cluster.library.errors import ColumnError, LibraryError
from cluster.library.kept import KeptColumns, keep_columns
from cluster.library.rows import count
from cluster.library.source import NoMoleculeError, Source, paths_of, resolve
from cluster.table_file import BESIDE_ROWS, SDF
from distill.data.leakage import refuse_labels
from gallon.api.spec import ResolvedSpec
from gallon.config import DEFAULT_STORE, STORE_VARIABLE, KeepConfig, LibraryConfig, TableConfig
from teacher.errors import UsageError
from teacher.files import check_output

StrPath = str | PathLike[str]
Library = StrPath | Iterable[StrPath]


def listed(paths: Library) -> list[str]:
    """Return one path, or several, as a list of strings."""
    if isinstance(paths, str | PathLike):
        return [fspath(paths)]
    return [fspath(path) for path in paths]


def store_named(store: StrPath | None) -> str:
    """Return the store that a call names, or the one in the environment, or the default."""
    return fspath(store) if store is not None else os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


def sources_of(library: Library, config: LibraryConfig) -> list[Source]:
    """Find the files of a library and look into each.

    Raises:
        LibraryError: as `cluster.library.source.resolve`.
        NoMoleculeError: there is no row in any of them, which is found before anything is started for them.
    """
    sources = resolve(listed(library), config.smiles_column, config.separator, config.encoding)
    if not count(sources, limit=1):
        raise NoMoleculeError.of(sources, 0, "")
    return sources


def further_sources(paths: Sequence[str], option: str, main: TableConfig) -> list[Source]:
    """Find the files of an option beside the main table, each read as that table where it can be, else as usual.

    Args:
        paths: paths, globs or URLs.
        option: that names them, for messages.
        main: how the main table is read.

    Raises:
        LibraryError: as `cluster.library.source.resolve`, with the option and what may be done about its file.
    """
    found = [_further_source(path, option, main) for path in paths_of(paths)]
    return [source for sources in found for source in sources]


def _further_source(path: str, option: str, main: TableConfig) -> list[Source]:
    column = main.smiles_column
    for way in ((column, main.separator, main.encoding), (column, None, None)):
        with suppress(LibraryError):
            return resolve([path], *way)
    try:
        return resolve([path])
    except ColumnError as error:
        wanted = f"'{column}', as --smiles-column says, or " if column else ""
        raise LibraryError(
            f"{option} {error.path}: it is not clear which column holds the SMILES (there are: {error.columns}); call "
            f"it {wanted}'smiles'{'' if column else ', or as --smiles-column says'}."
        ) from None


def check_rows_output(out: Path, sources: Sequence[Source], *, overwrite: bool) -> None:
    """Check that a file for the rows of a library can be written, before anything is computed for it.

    Raises:
        UsageError: it cannot, or must not, be written.
    """
    check_output(out, suffixes=BESIDE_ROWS, inputs=[source.path for source in sources], overwrite=overwrite)


def kept_of(sources: Sequence[Source], config: KeepConfig, out: Path, limit: int | None) -> KeptColumns:
    """Choose the columns of a library that go into an output; into an SD file, its whole records go.

    Raises:
        LibraryError: as `cluster.library.kept.keep_columns`.
    """
    records = out.suffix.lower() == SDF
    return keep_columns(sources, config.keep_columns or (), config.id_column, records=records, limit=limit)


def with_row_columns(sources: Sequence[Source], resolved: ResolvedSpec) -> list[Source]:
    """Return the files of a library with the columns that the prompt shows.

    Raises:
        LibraryError: a file lacks one.
        UsageError: one looks like a label, and the user has not allowed it.
    """
    found = with_columns(sources, resolved.spec.columns)
    refuse_labels(resolved.spec.columns, found, resolved.allowed_columns)
    return found


def refuse_row_columns(resolved: ResolvedSpec) -> None:
    """Refuse a prompt that shows columns, where molecules come without rows.

    Raises:
        UsageError: the prompt shows some.
    """
    if columns := resolved.spec.columns:
        raise UsageError(
            f"The prompt '{resolved.prompt.name}' shows columns of a row ({', '.join(columns)}), which molecules by "
            "themselves do not have: annotate a table, or choose another prompt."
        )
