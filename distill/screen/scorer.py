"""A model at work on rows of a library, in whatever process that is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.library.whole_rows import DAMAGE, why
from distill.screen.columns import OURS, prediction_columns, prediction_fields
from distill.screen.saved_model import SavedModel
from teacher.chemistry.molecule import InvalidMoleculeError, from_mol
from teacher.chemistry.parsing import read_mols_safely

if TYPE_CHECKING:
    import pyarrow as pa
    from rdkit.Chem import Mol

    from distill.models.card import ModelCard

READ = ("raw", "notation", DAMAGE)  # the columns that a scorer reads of rows


class Scorer:
    """Predicts the molecules of rows, on one core.

    Args:
        model: the folder of a model, or the file that it was packed into.
        doubt: whether it tells how far to trust each prediction.

    Raises:
        UsageError: as `SavedModel`.
    """

    def __init__(self, model: str, *, doubt: bool) -> None:
        self._model, self._doubt = SavedModel(Path(model)), doubt
        if torch := sys.modules.get("torch"):  # which a student on fingerprints does without
            torch.set_num_threads(1)

    def score(self, rows: pa.Table) -> pa.Table:
        """Return `smiles`, the predictions and `error` of rows of a library with the columns `READ`."""
        texts = list(zip(rows["raw"].to_pylist(), rows["notation"].to_pylist(), strict=True))
        found = read_mols_safely(texts)
        mols = [None if isinstance(each, InvalidMoleculeError) else each for each in found]
        errors = [str(each) if isinstance(each, InvalidMoleculeError) else None for each in found]
        smiles = [None if mol is None else _written(*text, mol) for text, mol in zip(texts, mols, strict=True)]
        return self._table(smiles, mols, errors, rows[DAMAGE])

    def _table(
        self, smiles: Sequence[str | None], mols: Sequence[Mol | None], errors: Sequence[str | None], damage: pa.Array
    ) -> pa.Table:
        import pyarrow as pa

        fields = prediction_fields(self._model.card, doubt=self._doubt, taken=OURS)
        predicted = prediction_columns(self._model, mols, doubt=self._doubt)
        said = errors if damage.null_count == len(damage) else list(map(why, damage.to_pylist(), errors))
        return pa.table(
            {
                "smiles": pa.array(smiles, pa.string()),
                **{
                    field.name: pa.array(column, field.type, from_pandas=True)
                    for field, column in zip(fields, predicted, strict=True)
                },
                "error": pa.array(said, pa.string()),
            }
        )


def blamed(card: ModelCard, reason: str, *, doubt: bool) -> pa.Table:
    """Return what `Scorer.score` would of one row that cannot be scored; it needs no model for that.

    Args:
        card: of the model.
        reason: why the row cannot be scored.
        doubt: whether predictions come with how far to trust them.
    """
    import pyarrow as pa

    fields = [pa.field("smiles", pa.string()), *prediction_fields(card, doubt=doubt, taken=OURS)]
    columns = {field.name: pa.nulls(1, field.type) for field in fields}
    return pa.table({**columns, "error": pa.array([reason], pa.string())})


def _written(raw: bytes, notation: str, mol: Mol) -> str:
    """Return a molecule's SMILES as the library writes it, or RDKit's where the library writes none."""
    return from_mol(mol).smiles if notation == "molblock" else raw.decode().strip()
