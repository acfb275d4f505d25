"""The first steps of a row: parse it, enter its molecule into the run, and pass on what is to be annotated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, Any

from cluster.job import Job
from cluster.metrics import count_rows
from cluster.record import RAW_SHOWN, Letter
from cluster.store import Row, Store
from teacher.molecule import KEY_BYTES, PARSER_VERSION, InvalidMoleculeError, Molecule, parse

if TYPE_CHECKING:
    import pyarrow as pa

LibraryRow = dict[str, Any]  # a row as `cluster.library.read` yields it
NO_KEY = bytes(KEY_BYTES)  # stands for a row that is no molecule


@cache
def shared_store(url: str) -> Store:
    """Return this process's store: one connection for all tasks that the process runs."""
    return Store(url)


def plan(block: pa.Table, job: Job) -> pa.Table:
    """Parse the rows of a library and register their molecules.

    What a stretch of rows parses to is kept in the store under a digest of the rows, since parsing takes nine tenths of
    the time of a run that finds nothing to do.

    Args:
        block: rows as `cluster.library.read` yields them.
        job: the run.

    Returns:
        A table with the columns `key` (16 bytes), `smiles`, `source` and `row`, of the molecules that are to be
        annotated now.
    """
    import pyarrow as pa

    todo: list[tuple[Row, str]] = []
    for source, group in groupby(block.to_pylist(), key=lambda row: int(row["source"])):
        todo += _plan_source(source, list(group), job)
    return pa.table(
        {
            "key": pa.array([row.key for row, _ in todo], pa.binary(KEY_BYTES)),
            "smiles": pa.array([smiles for _, smiles in todo], pa.string()),
            "source": pa.array([row.source for row, _ in todo], pa.int32()),
            "row": pa.array([row.row for row, _ in todo], pa.int64()),
        }
    )


def _plan_source(source: int, rows: Sequence[LibraryRow], job: Job) -> list[tuple[Row, str]]:
    """Plan consecutive rows of one file; return those to be annotated, with their SMILES."""
    store = shared_store(job.store_url)
    digest = _digest(rows)
    known = store.parsed(digest)
    keys = [known[i : i + KEY_BYTES] for i in range(0, len(known), KEY_BYTES)] if known else [None] * len(rows)
    molecules: dict[int, Molecule] = {}
    invalid: dict[int, Letter] = {}
    valid = []
    for row, key in zip(rows, keys, strict=True):
        if key is not None and key != NO_KEY:
            valid.append((row, key))
            continue
        try:
            molecule = molecules[row["row"]] = _parse(row)
        except InvalidMoleculeError as error:
            invalid[row["row"]] = _letter(job, source, row, error)
        else:
            valid.append((row, molecule.key))
    if known is None:
        store.keep_parsed(
            digest, b"".join(molecules[n].key if (n := row["row"]) in molecules else NO_KEY for row in rows)
        )
    flags = store.register(job.spec.id, job.run, [Row(key, source, row["row"]) for row, key in valid])
    # Rows count as read only once their molecules stand in the ledger.
    store.note_rows(job.run, source, range(rows[0]["row"], rows[-1]["row"] + 1), invalid)
    count_rows(job.run, todo=sum(flags), skipped=len(flags) - sum(flags), invalid=len(invalid))
    return [
        (Row(key, source, row["row"]), (molecules.get(row["row"]) or _parse(row)).smiles)
        for (row, key), flag in zip(valid, flags, strict=True)
        if flag
    ]


def _parse(row: LibraryRow) -> Molecule:
    return parse(row["raw"], row["notation"])


def _digest(rows: Sequence[LibraryRow]) -> str:
    """Digest what decides the molecules of rows: their text, how it is written, and the parser."""
    import rdkit

    digest = blake2b(f"{PARSER_VERSION} {rdkit.__version__} {rows[0]['notation']} ".encode(), digest_size=16)
    digest.update(b"".join(len(row["raw"]).to_bytes(4, "big") for row in rows))
    digest.update(b"".join(row["raw"] for row in rows))
    return digest.hexdigest()


def _letter(job: Job, source: int, row: LibraryRow, error: InvalidMoleculeError) -> Letter:
    return Letter(
        stage="parse",
        error=type(error).__name__,
        message=f"The row {error}.",
        source=job.sources[source],
        row=row["row"],
        raw=row["raw"][:RAW_SHOWN].decode(errors="backslashreplace"),
        run=job.run,
        time=time.time(),
    )
