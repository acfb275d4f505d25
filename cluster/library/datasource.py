"""The molecule library as a Ray Data source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pyarrow as pa
from ray.data import DataContext, Dataset, Datasource, read_datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from cluster.library.kept import KeptColumns
from cluster.library.rows import behind, read, read_all
from cluster.library.source import Source
from cluster.library.whole_rows import read_all_whole, read_whole

# Of `ROWS_PER_BLOCK` molecules with their row numbers: SMILES take some 60 bytes each, mol blocks some 2,000.
BLOCK_BYTES = 2**18
SDF_BLOCK_BYTES = 2**23


def read_library(
    sources: Sequence[Source],
    limit: int | None,
    *,
    in_order: bool,
    cpus: float,
    kept: KeptColumns | None = None,
    first: int = 0,
) -> Dataset:
    """Stream a library in blocks of about `ROWS_PER_BLOCK` rows.

    Ray joins what a task yields into blocks of 128 MiB unless it is told a smaller size, and splits the blocks of few
    tasks into 200 small ones unless it is told to make one (which does not limit the number of tasks).

    Args:
        sources: the files, as `cluster.library.source.resolve` found them.
        limit: read the first so many rows only.
        in_order: what is made of the rows comes out in their order, rather than as soon as it is ready.
        cpus: what a task that reads takes of its machine.
        kept: columns of the files that are read, too (`cluster.library.whole_rows`).
        first: how many rows, the first ones, are left out.
    """
    context = DataContext.get_current()
    has_mol_blocks = any(source.format == "sdf" for source in sources)
    context.target_max_block_size = SDF_BLOCK_BYTES if has_mol_blocks else BLOCK_BYTES
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = in_order
    context.raise_original_map_exception = True  # so that an error of ours reaches the user as it is
    return read_datasource(LibraryDatasource(sources, limit, kept, first), override_num_blocks=1, num_cpus=cpus)


class LibraryDatasource(Datasource):  # type: ignore[misc]  # Ray comes without types
    """The rows of a library, one read task for each file; Ray names the operator `ReadLibrary`.

    With a limit, or where rows are left out, there is one task for all files: how many rows of a file are among the
    first N is known only when the files before it have been read.

    Args:
        sources: the files, as `cluster.library.source.resolve` found them; the column `source` counts them from 0.
        limit: read the first so many rows of the library only.
        kept: columns of the files that are read, too; None for the molecules alone.
        first: how many rows, the first ones, are left out.
    """

    def __init__(
        self, sources: Sequence[Source], limit: int | None = None, kept: KeptColumns | None = None, first: int = 0
    ) -> None:
        super().__init__()
        self._sources = tuple(sources)
        self._limit = limit
        self._kept = kept
        self._first = first

    def estimate_inmemory_data_size(self) -> int | None:
        """Return None: how much a compressed file holds is known only when it has been read."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        """Return the read tasks; a file is read from its beginning, so `parallelism` cannot be followed."""
        if self._limit is not None or self._first:
            stream = partial(self._read_all, self._limit)
            return [_task(stream, self._sources, per_task_row_limit)]
        return [
            _task(partial(self._read, source, index), [source], per_task_row_limit)
            for index, source in enumerate(self._sources)
        ]

    def _read(self, source: Source, index: int) -> Iterator[pa.Table]:
        return read_whole(source, index, self._kept) if self._kept else read(source, index)

    def _read_all(self, limit: int | None) -> Iterator[pa.Table]:
        tables = read_all_whole(self._sources, self._kept, limit) if self._kept else read_all(self._sources, limit)
        return behind(tables, self._first)


def _task(stream: Callable[[], Iterator[pa.Table]], sources: Sequence[Source], row_limit: int | None) -> ReadTask:
    files = tuple(source.shown for source in sources)
    metadata = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=files)
    return ReadTask(stream, metadata, per_task_row_limit=row_limit)
