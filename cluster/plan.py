"""The first steps of a row: parse it, enter its molecule into the run, and pass on what is to be annotated."""

from __future__ import annotations

import time
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

from cluster.job import Job
from cluster.record import RAW_SHOWN, Letter
from cluster.store import Row, Store
from teacher.molecule import InvalidMoleculeError, parse

if TYPE_CHECKING:
    import pyarrow as pa


@cache
def shared_store(url: str) -> Store:
    """Return this process's store: one connection for all tasks that the process runs."""
    return Store(url)


def plan(block: pa.Table, job: Job) -> pa.Table:
    """Parse the rows of a library and register their molecules.

    Args:
        block: rows as `cluster.library.read` yields them.
        job: the run.

    Returns:
        A table with the columns `key` (16 bytes), `smiles`, `source` and `row`, of the molecules that are to be
        annotated now.
    """
    import pyarrow as pa

    store = shared_store(job.store_url)
    todo: list[tuple[Row, str]] = []
    for source, group in groupby(block.to_pylist(), key=lambda row: int(row["source"])):
        rows = list(group)
        parsed, invalid = [], {}
        for row in rows:
            number = row["row"]
            try:
                molecule = parse(row["raw"], row["notation"])
            except InvalidMoleculeError as error:
                invalid[number] = _letter(job, source, number, row["raw"], error)
            else:
                parsed.append((Row(molecule.key, source, number), molecule.smiles))
        flags = store.register(job.spec.id, job.run, [row for row, _ in parsed])
        # Rows count as read only once their molecules stand in the ledger.
        store.note_rows(job.run, source, range(rows[0]["row"], rows[-1]["row"] + 1), invalid)
        todo += [entry for entry, flag in zip(parsed, flags, strict=True) if flag]
    return pa.table(
        {
            "key": pa.array([row.key for row, _ in todo], pa.binary(16)),
            "smiles": pa.array([smiles for _, smiles in todo], pa.string()),
            "source": pa.array([row.source for row, _ in todo], pa.int32()),
            "row": pa.array([row.row for row, _ in todo], pa.int64()),
        }
    )


def _letter(job: Job, source: int, row: int, raw: bytes, error: InvalidMoleculeError) -> Letter:
    return Letter(
        stage="parse",
        error=type(error).__name__,
        message=f"The row {error}.",
        source=job.sources[source],
        row=row,
        raw=raw[:RAW_SHOWN].decode(errors="backslashreplace"),
        run=job.run,
        time=time.time(),
    )
