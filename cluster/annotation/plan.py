"""The first steps of a row: parse it, enter its molecule into the run, and pass on what is to be annotated."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, Any

from cluster.annotation.job import Job
from cluster.annotation.metrics import count_rows
from cluster.runtime.logs import log_in_worker, ray_log_folder
from cluster.store.record import RAW_SHOWN, DeadLetter
from cluster.store.store import Row, Store
from teacher.chemistry.molecule import KEY_BYTES, PARSER_VERSION, InvalidMoleculeError, record_key
from teacher.chemistry.parsing import Parsed, shared_parser
from teacher.llm.row_columns import unpack_cells

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

LibraryRow = dict[str, Any]  # a row as `cluster.library.rows.read` yields it
NO_KEY = bytes(KEY_BYTES)  # stands for a row that is no molecule


@cache
def shared_store(url: str) -> Store:
    """Return this process's store: one connection for all tasks that the process runs."""
    return Store(url)


def plan_in_worker(block: pa.Table, job: Job, log_level: int) -> pa.Table:
    """Do as `plan` in a worker of Ray's, whose log is among Ray's."""
    log_in_worker(ray_log_folder(), "planner", log_level)
    planned = plan(block, job)
    logger.debug("run %s: %d rows are planned, %d to be annotated", job.run, block.num_rows, planned.num_rows)
    return planned


def plan(block: pa.Table, job: Job) -> pa.Table:
    """Parse the rows of a library and register their molecules.

    What a stretch of rows parses to is kept in the store under a digest of the rows, since parsing takes nine tenths of
    the time of a run that finds nothing to do.

    Args:
        block: rows as `cluster.library.rows.read` yields them.
        job: the run.

    Returns:
        A table with the columns `key` (16 bytes, of the record), `smiles`, `columns` (the cells that the prompt shows,
        packed), `source` and `row`, of the molecules that are to be annotated now.
    """
    import pyarrow as pa

    todo: list[_Planned] = []
    for stretch in _stretches(block.to_pylist()):
        todo += _plan_source(int(stretch[0]["source"]), stretch, job)
    return pa.table(
        {
            "key": pa.array([each.row.key for each in todo], pa.binary(KEY_BYTES)),
            "smiles": pa.array([each.smiles for each in todo], pa.string()),
            "columns": pa.array([each.columns for each in todo], pa.string()),
            "source": pa.array([each.row.source for each in todo], pa.int32()),
            "row": pa.array([each.row.row for each in todo], pa.int64()),
        }
    )


def _stretches(rows: Sequence[LibraryRow]) -> Iterator[list[LibraryRow]]:
    """Cut rows into those of one file that follow one another there."""
    numbered = enumerate(rows)
    for _, group in groupby(numbered, key=lambda item: (item[1]["source"], item[1]["row"] - item[0])):
        yield [row for _, row in group]


@dataclass(frozen=True, slots=True)
class _Planned:
    """A row that is to be annotated: its record's key and its place, its molecule, and the cells that are shown."""

    row: Row
    smiles: str
    columns: str


def _plan_source(source: int, rows: Sequence[LibraryRow], job: Job) -> list[_Planned]:
    """Plan consecutive rows of one file; return those to be annotated."""
    store = shared_store(job.store_url)
    digest = _digest(rows)
    known = store.parsed(digest)
    keys = [known[i : i + KEY_BYTES] for i in range(0, len(known), KEY_BYTES)] if known else [NO_KEY] * len(rows)
    parsed = _parse([row for row, key in zip(rows, keys, strict=True) if key == NO_KEY])
    invalid: dict[int, DeadLetter] = {}
    valid = []
    for row, key in zip(rows, keys, strict=True):
        molecule = parsed.get(row["row"])
        if isinstance(molecule, InvalidMoleculeError):
            invalid[row["row"]] = _dead_letter(job, source, row, molecule)
        else:
            valid.append((row, molecule.key if molecule else key))
    if known is None:
        keys_of_rows = {row["row"]: key for row, key in valid}
        store.save_parsed(digest, b"".join(keys_of_rows.get(row["row"], NO_KEY) for row in rows))
    entered = [Row(record_key(key, _columns(row)), source, row["row"]) for row, key in valid]
    flags = store.register(job.spec.id, job.run, entered)
    todo = [(row, entry) for (row, _), entry, flag in zip(valid, entered, flags, strict=True) if flag]
    parsed |= _parse([row for row, _ in todo if row["row"] not in parsed])
    planned = _plan_rows(todo, parsed, job)
    # Rows count as read only once their molecules stand in the ledger.
    store.note_rows(job.run, source, range(rows[0]["row"], rows[-1]["row"] + 1), invalid)
    count_rows(job.run, todo=sum(flags), skipped=len(flags) - sum(flags), invalid=len(invalid))
    return planned


def _plan_rows(
    todo: Sequence[tuple[LibraryRow, Row]], parsed: Mapping[int, Parsed | InvalidMoleculeError], job: Job
) -> list[_Planned]:
    """Plan registered rows; a molecule of before that can no longer be parsed, on this machine, is a dead letter."""
    planned, letters = [], []
    for row, entry in todo:
        molecule = parsed[row["row"]]
        if isinstance(molecule, InvalidMoleculeError):
            logger.warning(
                "row %d of %s was parsed before, and now it %s", entry.row, job.sources[entry.source], molecule
            )
            letter = _dead_letter(job, entry.source, row, molecule)
            letters.append((entry.key, replace(letter, columns=unpack_cells(_columns(row)))))
        else:
            planned.append(_Planned(entry, molecule.smiles, _columns(row)))
    if letters:
        shared_store(job.store_url).commit(job.spec.id, job.run, letters, [(0, 0)] * len(letters))
    return planned


def _columns(row: LibraryRow) -> str:
    """Return the cells of a row that the prompt shows, packed."""
    columns: str = row.get("columns", "")
    return columns


def _parse(rows: Sequence[LibraryRow]) -> dict[int, Parsed | InvalidMoleculeError]:
    """Parse rows of one file; return what came of each, by its number."""
    found = shared_parser().parse([(row["raw"], row["notation"]) for row in rows])
    return {row["row"]: molecule for row, molecule in zip(rows, found, strict=True)}


def _digest(rows: Sequence[LibraryRow]) -> str:
    """Digest what decides the molecules of rows: their text, how it is written, and the parser."""
    import rdkit

    digest = blake2b(f"{PARSER_VERSION} {rdkit.__version__} {rows[0]['notation']} ".encode(), digest_size=16)
    digest.update(b"".join(len(row["raw"]).to_bytes(4, "big") for row in rows))
    digest.update(b"".join(row["raw"] for row in rows))
    return digest.hexdigest()


def _dead_letter(job: Job, source: int, row: LibraryRow, error: InvalidMoleculeError) -> DeadLetter:
    return DeadLetter(
        stage="parse",
        error=type(error).__name__,
        message=f"The row {error}.",
        source=job.sources[source],
        row=row["row"],
        raw=row["raw"][:RAW_SHOWN].decode(errors="backslashreplace"),
        run=job.run,
        time=time.time(),
    )
