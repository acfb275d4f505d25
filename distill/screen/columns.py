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

    from distill.models.card import ModelCard
    from distill.screen.saved_model import SavedModel

OURS = ("source", "row", "smiles", "error")  # columns beside the predictions
OBJECTS = ("nearest_training", "in_domain")  # which hold no numbers
OF_MOLECULES = ("similarity", *OBJECTS)


def prediction_names(card: ModelCard, *, doubt: bool, taken: Sequence[str] = ()) -> list[str]:
    """Return the names of the columns; one that is taken has a mark.

    Each target has a column of its name; with doubt also NAME_low and NAME_high of numbers, NAME_spread of an ensemble
    (the standard deviation of what its networks predict; of classes, of probabilities), and one each for `similarity`
    to the nearest training molecule, which that is, and whether the molecule is in the model's domain.
    """
    names: list[str] = []
    for target in card.targets:
        intervals = doubt and target.kind == "regression"
        names += [target.name, *([f"{target.name}_low", f"{target.name}_high"] if intervals else [])]
        names += [f"{target.name}_spread"] if doubt and card.members > 1 else []
    return apart([*names, *(OF_MOLECULES if doubt else ())], taken)


def prediction_fields(card: ModelCard, *, doubt: bool, taken: Sequence[str] = ()) -> list[pa.Field]:
    """Return the names and types of the columns."""
    import pyarrow as pa

    names = prediction_names(card, doubt=doubt, taken=taken)
    of_molecules = [pa.float32(), pa.string(), pa.bool_()] if doubt else []
    kinds = [pa.float32()] * (len(names) - len(of_molecules)) + of_molecules
    return [pa.field(name, kind) for name, kind in zip(names, kinds, strict=True)]


def prediction_columns(model: SavedModel, mols: Sequence[Mol | None], *, doubt: bool) -> list[NDArray[Any]]:
    """Predict molecules; return the columns of `prediction_fields`, NaN or None where there is no molecule."""
    found = [row for row, mol in enumerate(mols) if mol is not None]
    known = [mol for mol in mols if mol is not None]
    if not known:
        return _nothing(model.card, len(mols), doubt=doubt)
    said = _with_doubt(model, known) if doubt else list(model.predict(known).T)
    return [_spread(column, found, len(mols)) for column in said]


def _with_doubt(model: SavedModel, mols: list[Mol]) -> list[NDArray[Any]]:
    said = model.predict_with_doubt(mols)
    columns: list[NDArray[Any]] = []
    for number, target in enumerate(model.card.targets):
        value, half = said.values[:, number], said.half[:, number]
        columns += [value, value - half, value + half] if target.kind == "regression" else [value]
        columns += [said.spread[:, number]] if model.card.members > 1 else []
    nearest = np.array([model.training[place] for place in said.nearest], dtype=object)
    return [*columns, said.similarity, nearest, said.in_domain.astype(object)]


def _nothing(card: ModelCard, length: int, *, doubt: bool) -> list[NDArray[Any]]:
    """Return columns without a prediction, of the types that they have with some."""
    numbers = len(prediction_names(card, doubt=doubt)) - len(OBJECTS) * doubt
    return [
        *(np.full(length, np.nan, dtype=np.float32) for _ in range(numbers)),
        *(np.full(length, None, dtype=object) for _ in range(len(OBJECTS) * doubt)),
    ]


def _spread(column: NDArray[Any], rows: Sequence[int], length: int) -> NDArray[Any]:
    """Return a column in which cells stand in their rows, and nothing in others."""
    whole = np.full(length, None if column.dtype == object else np.nan, dtype=column.dtype)
    whole[rows] = column
    return whole
