"""A Parquet file, wherever it lies, and the columns of it that may hold molecules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cluster.library.streams import damage_told


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a file as `pyarrow.parquet.ParquetFile`.

    Raises:
        UnreadableError: it is gone, forbidden or damaged.
    """
    import fsspec
    import pyarrow as pa
    import pyarrow.parquet as pq

    with damage_told(path, pa.ArrowException), fsspec.open(path, "rb") as file:
        yield pq.ParquetFile(file)


def text_columns(path: str) -> list[str]:
    """Return the names of the columns that hold text."""
    import pyarrow as pa

    texts = {pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()}
    with opened(path) as file:
        schema = file.schema_arrow
    types = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in schema.types]
    return [name for name, kind in zip(schema.names, types, strict=True) if kind in texts]
