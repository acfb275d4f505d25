"""`gallon screen`: a student scores a whole library; rows stream, in their order, into one file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.library.kept import NONE, KeptColumns, keep_columns
from cluster.library.source import NoMoleculeError, Source
from cluster.library.whole_rows import DAMAGE, why
from cluster.table_file import BESIDE_ROWS
from distill.models.card import ModelCard
from distill.screen.columns import prediction_columns, prediction_fields
from distill.screen.saved_model import SavedModel
from teacher.chemistry.molecule import InvalidMoleculeError, from_mol
from teacher.chemistry.parsing import read_mol_safely
from teacher.files import check_output

if TYPE_CHECKING:
    import pyarrow as pa
    from rdkit.Chem import Mol

    from cluster.runtime.session import RaySession

logger = logging.getLogger(__name__)

ROWS_AT_A_TIME = 2_048
OURS = ("source", "row", "smiles", "error")  # columns beside the predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What came of a screening: rows read, those that hold no molecule, and how long it took."""

    rows: int
    invalid: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """Rows a second, from the first to the last."""
        return self.rows / self.seconds if self.seconds else 0.0


def screen(
    sources: Sequence[Source],
    student: Path,
    out: Path,
    *,
    limit: int | None,
    session: RaySession,
    kept: KeptColumns | None = None,
    doubt: bool = True,
    show: Callable[[int], None] | None = None,
) -> Screened:
    """Predict every molecule of a library, and write one row for each of its rows.

    Columns: those that are kept, `source`, `row`, `smiles` (as the library writes it, canonical where it has mol
    blocks; empty where the row holds no molecule; left out where each row's SMILES is kept), those of the predictions
    (`distill.screen.columns`), and `error` (why there is no prediction). A target that is called like one of the others
    is written with a mark, `row_`, and so is a column of ours that is called like a kept one.

    Args:
        sources: the files of the library.
        student: the folder of a student or a graph teacher.
        out: a .parquet, .jsonl, .csv or .tsv file, or .sdf where whole records are kept; it is replaced if it is there.
        limit: take only so many rows.
        session: the Ray cluster to run on.
        kept: the columns of the library's files that are written, too; by default none.
        doubt: whether it is told how far to trust each prediction, where the model knows.
        show: called with the number of rows that are done.

    Raises:
        UsageError: the folder holds no model that reads molecules alone, the file cannot be written, or it is one of
            the library's.
        OutputError: the disk filled up.
        NoMoleculeError: no row holds a molecule; no file is written.
    """
    check_output(out, suffixes=BESIDE_ROWS, inputs=[source.path for source in sources], overwrite=True)
    model = SavedModel(student)  # a damaged one is found out here, not in a worker
    doubt = doubt and model.doubts
    kept = kept or keep_columns(sources, [NONE], limit=limit)
    schema = _schema(model.card, doubt=doubt, without_smiles=kept.holds_smiles)
    counted = {"rows": 0, "invalid": 0}

    def blocks() -> Iterator[tuple[pa.Table, pa.Table]]:
        for block in _scored(sources, limit, student, session, kept, doubt=doubt):
            counted["rows"] += block.num_rows
            counted["invalid"] += block["smiles"].null_count
            if show:
                show(counted["rows"])
            yield block, _ours(block, sources, schema)
        if counted["rows"] == counted["invalid"]:
            raise NoMoleculeError.of(sources, counted["rows"], "name another file, or the column with the SMILES")

    logger.info("screening begins: the model %s, into %s", student, out)
    started = time.monotonic()
    kept.write(blocks(), schema, out)
    screened = Screened(rows=counted["rows"], invalid=counted["invalid"], seconds=time.monotonic() - started)
    logger.info("screening is done: %s", screened)
    return screened


def _schema(card: ModelCard, *, doubt: bool, without_smiles: bool) -> pa.Schema:
    """Return the schema of our columns."""
    import pyarrow as pa

    text = pa.string()
    smiles = [] if without_smiles else [("smiles", text)]
    ours = [pa.field(name, kind) for name, kind in (("source", text), ("row", pa.int64()), *smiles)]
    return pa.schema([*ours, *prediction_fields(card, doubt=doubt, taken=OURS), pa.field("error", text)])


def _ours(block: pa.Table, sources: Sequence[Source], schema: pa.Schema) -> pa.Table:
    """Return our columns of scored rows."""
    import pyarrow as pa

    files = pa.array([sources[number].shown for number in block["source"].to_pylist()], pa.string())
    return block.set_column(block.column_names.index("source"), "source", files).select(schema.names).cast(schema)


def _scored(
    sources: Sequence[Source], limit: int | None, student: Path, session: RaySession, kept: KeptColumns, *, doubt: bool
) -> Iterator[pa.Table]:
    """Yield the rows with their predictions, in order."""
    import ray.data

    from cluster.library.datasource import read_library

    scored = read_library(sources, limit, in_order=True, cpus=0.1, kept=kept).map_batches(
        Scorer,
        fn_constructor_kwargs={"student": str(student), "doubt": doubt},
        batch_size=ROWS_AT_A_TIME,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=max(1, int(session.cpus))),
        num_cpus=0.9,
    )
    yield from scored.iter_batches(batch_size=None, batch_format="pyarrow")


class Scorer:
    """A student in a worker."""

    def __init__(self, student: str, *, doubt: bool) -> None:
        import torch

        torch.set_num_threads(1)
        self._model, self._doubt = SavedModel(Path(student)), doubt

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return `source`, `row`, `smiles`, the predictions and `error` of rows of a library, with what is kept."""
        import pyarrow as pa

        rows = block.select(["raw", "notation"]).to_pylist()
        mols: list[Mol | None] = [None] * len(rows)
        smiles: list[str | None] = [None] * len(rows)
        errors: list[str | None] = [None] * len(rows)
        for place, row in enumerate(rows):
            try:
                mols[place] = mol = read_mol_safely(row["raw"], row["notation"])
                smiles[place] = _written(row, mol)
            except InvalidMoleculeError as error:
                errors[place] = str(error)
        fields = prediction_fields(self._model.card, doubt=self._doubt, taken=OURS)
        predicted = prediction_columns(self._model, mols, doubt=self._doubt)
        ours = {
            "smiles": pa.array(smiles, pa.string()),
            **{
                field.name: pa.array(column, field.type, from_pandas=True)
                for field, column in zip(fields, predicted, strict=True)
            },
            "error": pa.array(map(why, block[DAMAGE].to_pylist(), errors), pa.string()),
        }
        theirs = block.drop_columns(["raw", "notation", DAMAGE])
        return pa.table([*theirs.columns, *ours.values()], names=[*theirs.column_names, *ours])


def _written(row: dict[str, Any], mol: Mol) -> str:
    """Return a molecule's SMILES as the library writes it, or RDKit's where the library writes none."""
    if row["notation"] == "molblock":
        return from_mol(mol).smiles
    text: str = row["raw"].decode().strip()
    return text
