"""The columns of predictions: one for each target, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.table_file import apart

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

    from distill.learn.model_store import ModelCard
    from distill.screen.saved_model import SavedModel

OF_MOLECULES = ("similarity", "nearest_training", "in_domain")


def prediction_fields(card: ModelCard, *, doubt: bool, taken: Sequence[str] = ()) -> list[pa.Field]:
    """Return the names and types of the columns; a name that is taken has a mark.

    Each target has a column of its name; with doubt also NAME_low and NAME_high of numbers, and one each for
    `similarity` to the nearest training molecule, which that is, and whether the molecule is in the model's domain.
    """
    import pyarrow as pa

    fields = []
    for target in card.targets:
        names = [target.name]
        if doubt and target.kind == "regression":
            names += [f"{target.name}_low", f"{target.name}_high"]
        fields += [(name, pa.float32()) for name in names]
    if doubt:
        fields += zip(OF_MOLECULES, (pa.float32(), pa.string(), pa.bool_()), strict=True)
    marked = apart((name for name, _ in fields), taken)
    return [pa.field(name, kind) for name, (_, kind) in zip(marked, fields, strict=True)]


def prediction_columns(model: SavedModel, mols: Sequence[Mol | None], *, doubt: bool) -> list[NDArray[Any]]:
    """Predict molecules; return the columns of `prediction_fields`, NaN or None where there is no molecule."""
    found = [row for row, mol in enumerate(mols) if mol is not None]
    known = [mol for mol in mols if mol is not None]
    if not known:
        fields = prediction_fields(model.card, doubt=doubt)
        return [np.full(len(mols), None, dtype=object) for _ in fields]
    said = _with_doubt(model, known) if doubt else list(model.predict(known).T)
    return [_spread(column, found, len(mols)) for column in said]


def _with_doubt(model: SavedModel, mols: list[Mol]) -> list[NDArray[Any]]:
    said = model.predict_with_doubt(mols)
    columns: list[NDArray[Any]] = []
    for number, target in enumerate(model.card.targets):
        value, half = said.values[:, number], said.half[:, number]
        columns += [value, value - half, value + half] if target.kind == "regression" else [value]
    nearest = np.array([model.training[place] for place in said.nearest], dtype=object)
    return [*columns, said.similarity, nearest, said.in_domain.astype(object)]


def _spread(column: NDArray[Any], rows: Sequence[int], length: int) -> NDArray[Any]:
    """Return a column in which cells stand in their rows, and nothing in others."""
    whole = np.full(length, None if column.dtype == object else np.nan, dtype=column.dtype)
    whole[rows] = column
    return whole
