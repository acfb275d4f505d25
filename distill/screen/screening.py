"""`gallon screen`: a student scores a whole library; rows stream, in their order, into one file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.library.kept import NONE, KeptColumns, keep_columns
from cluster.library.source import NoMoleculeError, Source
from cluster.table_file import BESIDE_ROWS, write
from distill.features.features_id import features_id
from distill.models.card import ModelCard
from distill.models.hub import local_model
from distill.models.model_store import FILES, NGRAMS
from distill.screen.columns import OURS, prediction_fields, prediction_names
from distill.screen.parts import PART_ROWS, Parts
from distill.screen.prefilter import FullStudent, prefiltered
from distill.screen.saved_model import SavedModel
from distill.screen.scoring import scored
from distill.screen.selection import Selection
from teacher.errors import UsageError
from teacher.file_digest import digest_of
from teacher.files import check_output

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.runtime.session import RaySession

logger = logging.getLogger(__name__)

EVERYTHING = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What came of a screening.

    Attributes:
        rows: of the library that were read, those that an earlier try had done included.
        invalid: of them, those that hold no molecule.
        written: of them, those that are in the output.
        resumed: of them, those that an earlier try had done.
        seconds: how long the others took.
        left_out: rows of the library, not among `rows`, that a prefilter left out.
        recall: of the model's top 1 % with so many left out, as molecules tell that the prefilter has not learnt from.
    """

    rows: int
    invalid: int
    written: int
    resumed: int
    seconds: float
    left_out: int = 0
    recall: float | None = None

    @property
    def rows_per_second(self) -> float:
        """Rows a second, from the first to the last that were not done before."""
        return (self.rows - self.resumed) / self.seconds if self.seconds else 0.0


def screen(
    sources: Sequence[Source],
    student: Path,
    out: Path,
    *,
    limit: int | None,
    session: RaySession | None = None,
    kept: KeptColumns | None = None,
    doubt: bool = True,
    selection: Selection = EVERYTHING,
    show: Callable[[int], None] | None = None,
) -> Screened:
    """Predict every molecule of a library, and write one row for each of its rows.

    Columns: those that are kept, `source`, `row`, `smiles` (as the library writes it, canonical where it has mol
    blocks; empty where the row holds no molecule; left out where each row's SMILES is kept), those of the predictions
    (`distill.screen.columns`), and `error` (why there is no prediction). A target that is called like one of the others
    is written with a mark, `row_`, and so is a column of ours that is called like a kept one.

    What is done is kept in parts beside the output: the same call goes on where it was stopped.

    Args:
        sources: the files of the library.
        student: the folder of a student or a graph teacher, the file that it was packed into, or hf://OWNER/NAME.
        out: a .parquet, .jsonl, .csv or .tsv file, or .sdf where whole records are kept; it is replaced if it is there.
        limit: take only so many rows.
        session: the Ray cluster to run on; by default processes of this machine do the work.
        kept: the columns of the library's files that are written, too; by default none.
        doubt: whether it is told how far to trust each prediction, where the model knows.
        selection: which rows are written; by default all.
        show: called with the number of rows that are done.

    Raises:
        UsageError: the folder holds no model that reads molecules alone, the file cannot be written, it is one of the
            library's, or the selection names a column that there is not.
        OutputError: the disk filled up.
        NoMoleculeError: no row holds a molecule; no file is written.
    """
    check_output(out, suffixes=BESIDE_ROWS, inputs=[source.path for source in sources], overwrite=True)
    here = local_model(student)
    model = SavedModel(here)  # a damaged one is found out here, not in a worker
    doubt = doubt and model.doubts
    kept = kept or keep_columns(sources, [NONE], limit=limit)
    ours = _schema(model.card, doubt=doubt, without_smiles=kept.holds_smiles)
    columns = kept.schema(ours)
    if session is not None and selection.prefilter is not None:
        raise UsageError("A prefilter works on one machine: leave out --ray and RAY_ADDRESS, or --prefilter.")
    predicted, targets = _predicted(columns, ours, model.card, kept)
    selection = selection.checked(predicted, targets)
    full = FullStudent(here, model.card, _digest(here))
    parts = Parts(out, _facts(sources, full, limit, kept, columns=str(columns), selection=selection))
    logger.info("screening begins: the model %s, into %s, %d rows are done", student, out, parts.rows)
    resumed, started = parts.rows, time.monotonic()
    place = targets.index(str(selection.by)) if selection.prefilter else None
    chosen = prefiltered(sources, limit, full, selection, place) if place is not None else None
    rest: list[pa.Table] = []
    rows, invalid = parts.rows, parts.invalid
    passing = chosen.passing if chosen else iter
    for read, found in scored(sources, limit, here, kept, session, doubt=doubt, first=resumed, passing=passing):
        rows += read.num_rows
        invalid += found["smiles"].null_count
        rest.append(selection.passing(kept.beside(read, _ours(read, found, sources, ours))))
        if rows - parts.rows >= PART_ROWS:
            parts.add(selection.best(rest), rows - parts.rows, invalid - parts.invalid)
            rest = []
        if show:
            show(rows)
    if rows == invalid:
        parts.remove()
        raise NoMoleculeError.of(sources, rows, "name another file, or the column with the SMILES")
    written = write(iter(selection.best(chain(parts.tables(), rest))), columns, out, theirs=len(kept.names))
    parts.remove()
    screened = Screened(
        rows=rows,
        invalid=invalid,
        written=written,
        resumed=resumed,
        seconds=time.monotonic() - started,
        left_out=int((~chosen.keeps).sum()) if chosen else 0,
        recall=chosen.recall if chosen else None,
    )
    logger.info("screening is done: %s", screened)
    return screened


def _schema(card: ModelCard, *, doubt: bool, without_smiles: bool) -> pa.Schema:
    """Return the schema of our columns."""
    import pyarrow as pa

    text = pa.string()
    smiles = [] if without_smiles else [("smiles", text)]
    ours = [pa.field(name, kind) for name, kind in (("source", text), ("row", pa.int64()), *smiles)]
    return pa.schema([*ours, *prediction_fields(card, doubt=doubt, taken=OURS), pa.field("error", text)])


def _predicted(columns: pa.Schema, ours: pa.Schema, card: ModelCard, kept: KeptColumns) -> tuple[pa.Schema, list[str]]:
    """Return the columns that rows are selected by, which are those of predictions, and the names of the targets'."""
    import pyarrow as pa

    written = {name: columns.names[len(kept.names) + place] for place, name in enumerate(ours.names)}
    targets = prediction_names(card, doubt=False, taken=OURS)
    fields = [columns.field(written[name]) for name in ours.names if name not in OURS]
    return pa.schema(fields), [written[name] for name in targets]


def _ours(rows: pa.Table, found: pa.Table, sources: Sequence[Source], schema: pa.Schema) -> pa.Table:
    """Return our columns of scored rows."""
    import pyarrow as pa

    files = pa.array([source.shown for source in sources], pa.string()).take(rows["source"].combine_chunks())
    columns = {**dict(zip(found.column_names, found.columns, strict=True)), "source": files, "row": rows["row"]}
    return pa.table([columns[name] for name in schema.names], schema.names).cast(schema)


def _digest(student: Path) -> str:
    """Return the digest of a model's files, but for the n-gram student that was learnt from it."""
    files = [student] if student.is_file() else [student / name for name in FILES if name != NGRAMS]
    return digest_of(file for file in files if file.is_file())


def _facts(
    sources: Sequence[Source],
    full: FullStudent,
    limit: int | None,
    kept: KeptColumns,
    *,
    columns: str,
    selection: Selection,
) -> dict[str, Any]:
    """Return all that decides what is written: who goes on must go on with the same."""
    return {
        "files": [[repr(source), _state(source)] for source in sources],
        "limit": limit,
        "kept": [kept.places, kept.fields],
        "columns": columns,
        "selection": asdict(selection),
        "model": full.digest,
        "features": features_id(),
    }


def _state(source: Source) -> str:
    """Return what changes when a file does, as far as it can be known."""
    import fsspec.core

    with suppress(OSError, NotImplementedError, ValueError):
        fs, path = fsspec.core.url_to_fs(source.path)
        return str(fs.ukey(path))
    return ""
