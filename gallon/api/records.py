"""Annotations out of the store: as a table in memory, or as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from cluster.library.cells import with_columns
from cluster.library.molecules import unique_entries
from cluster.records.annotated_rows import write_annotated
from cluster.records.export import export as write
from cluster.records.export import tables
from cluster.store.open import choose_spec, open_store
from cluster.table_file import WRITERS
from gallon.api.library import Library, StrPath, check_rows_output, kept_of, sources_of, store_named
from gallon.config import LibraryConfig, ShortKeepConfig
from gallon.progress import ProgressCallback, phase
from teacher.errors import UsageError
from teacher.files import check_output, placed

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset as ds


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """What was written: the id of the spec, how many rows, how many of them with an annotation, and where."""

    spec: str
    rows: int
    annotated: int
    path: Path


@overload
def read_annotations(
    *, spec_id: str | None = None, store: StrPath | None = None, format: Literal["pandas"] = "pandas"
) -> pd.DataFrame: ...


@overload
def read_annotations(
    *, spec_id: str | None = None, store: StrPath | None = None, format: Literal["arrow"]
) -> ds.Dataset: ...


def read_annotations(
    *,
    spec_id: str | None = None,
    store: StrPath | None = None,
    format: Literal["pandas", "arrow"] = "pandas",  # noqa: A002
) -> pd.DataFrame | ds.Dataset:
    """Return all accepted annotations of a spec, one row per molecule, with their provenance.

    All of them are held in memory, about a kilobyte each: of millions, `export` a Parquet file instead.

    Args:
        spec_id: the spec's id, or its beginning; not needed where the store has one spec.
        store: a Redis URL, or the folder of an embedded Redis; by default that in GALLON_STORE, or ~/.gallon/store.
        format: "pandas" for a DataFrame, "arrow" for an Arrow dataset.

    Returns:
        The columns of `cluster.records.export.export`.

    Raises:
        UsageError: there is no such store or spec, or several specs could be meant.
    """
    import pyarrow as pa

    with open_store(store_named(store), create=False) as opened:
        schema, parts = tables(opened, choose_spec(opened, spec_id))
        table = pa.concat_tables([schema.empty_table(), *parts])
    if format == "arrow":
        import pyarrow.dataset as ds

        return ds.dataset(table)
    return table.to_pandas()


def export(
    out: StrPath,
    *,
    library: Library | None = None,
    reading: LibraryConfig,
    keeping: ShortKeepConfig,
    molecules: Library | None = None,
    spec_id: str | None = None,
    store: StrPath | None = None,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> ExportResult:
    """Write the annotations of a spec to a file: one row for each molecule, or for each row of a library.

    Args:
        out: a .csv, .tsv, .parquet or .jsonl file; of a library of SD files also .sdf.
        library: one row is written for each row of these files, in order, with its columns and its annotation, or the
            reason why it has none. Without one, all annotations of the spec are written.
        reading: how the files of the library, or of `molecules`, are read.
        keeping: which columns of the library are written, too.
        molecules: a library, whose molecules' annotations alone are written, each once.
        spec_id: the spec's id, or its beginning; not needed where the store has one spec.
        store: a Redis URL, or the folder of an embedded Redis; by default that in GALLON_STORE, or ~/.gallon/store.
        overwrite: whether a file that is there may be replaced.
        progress: called as rows of the library are done.

    Raises:
        UsageError: there is no such store or spec, or the file cannot be written.
        LibraryError: a file of the library cannot be read.
        OutputError: the disk is full.
    """
    path, files = placed(out), library if library is not None else molecules
    _check_use(library, molecules, reading, keeping)
    sources = sources_of(files, reading) if files is not None else []
    if library is not None:
        check_rows_output(path, sources, overwrite=overwrite)
    else:
        check_output(path, suffixes=WRITERS, inputs=[source.path for source in sources], overwrite=overwrite)
    with open_store(store_named(store), create=False) as opened:
        spec = choose_spec(opened, spec_id)
        sources = with_columns(sources, spec.columns)
        if library is None:
            only = frozenset(entry.key for entry in unique_entries(sources, reading.limit)) if sources else None
            rows = write(opened, spec, path, only)
            return ExportResult(spec=spec.id, rows=rows, annotated=rows, path=path)
        kept = kept_of(sources, keeping, path, reading.limit)
        with phase(progress, "writing", "rows") as running:
            limit, show = reading.limit, running.update
            written = write_annotated(opened, spec, sources, kept, path, limit=limit, show=show)
        return ExportResult(spec=spec.id, rows=written.rows, annotated=written.annotated, path=path)


def _check_use(
    library: Library | None, molecules: Library | None, reading: LibraryConfig, keeping: ShortKeepConfig
) -> None:
    """Refuse options that would change nothing, or contradict one another."""
    if library is not None and molecules is not None:
        raise UsageError("--library writes the rows of a library, --molecules single molecules: choose one of them.")
    if library is None and keeping != ShortKeepConfig():
        raise UsageError("--keep-columns and --id-column belong to --library: name it, or leave them out.")
    if library is None and molecules is None and reading != LibraryConfig():
        raise UsageError("There is no library to be read: name it with --library, or leave out how it is read.")
