"""Annotations out of the store: as a table in memory, or as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from cluster.library.cells import with_columns
from cluster.library.molecules import unique_entries
from cluster.library.source import resolve
from cluster.records.export import export as write
from cluster.records.export import tables
from cluster.store.open import choose_spec, open_store
from cluster.table_file import WRITERS
from gallon.api.library import Library, StrPath, listed, store_named
from teacher.files import check_output

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset as ds


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """What was written: the id of the spec, how many rows, and where."""

    spec: str
    rows: int
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
    molecules: Library | None = None,
    spec_id: str | None = None,
    store: StrPath | None = None,
    overwrite: bool = False,
) -> ExportResult:
    """Write the accepted annotations of a spec to a .parquet, .jsonl or .csv file.

    Args:
        out: the file.
        molecules: a library, whose annotations alone are written; all of the spec's without one.
        spec_id: the spec's id, or its beginning; not needed where the store has one spec.
        store: a Redis URL, or the folder of an embedded Redis; by default that in GALLON_STORE, or ~/.gallon/store.
        overwrite: whether a file that is there may be replaced.

    Raises:
        UsageError: there is no such store or spec, or the file cannot be written.
        LibraryError: a file of the library cannot be read.
        OutputError: the disk is full.
    """
    path = Path(out)
    check_output(path, suffixes=WRITERS, overwrite=overwrite)
    with open_store(store_named(store), create=False) as opened:
        spec = choose_spec(opened, spec_id)
        only = None
        if molecules is not None:
            sources = with_columns(resolve(listed(molecules)), spec.columns)
            only = frozenset(entry.key for entry in unique_entries(sources))
        return ExportResult(spec=spec.id, rows=write(opened, spec, path, only), path=path)
