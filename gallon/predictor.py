"""Score a few molecules by a model, in this process: without Ray, torch or a store.

A student on fingerprints needs numpy, RDKit and safetensors only (and pandas for tables), so that a model's folder and
this package are enough wherever it is to be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cluster.library.columns import smiles_columns
from distill.models import packing
from distill.models.card import ModelCard
from distill.models.hub import is_on_hub, push_model
from distill.screen.columns import prediction_columns, prediction_names
from distill.screen.saved_model import SavedModel
from teacher.chemistry.molecule import InvalidMoleculeError, read_mol
from teacher.errors import UsageError
from teacher.files import check_output, placed

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

Invalid = Literal["nan", "raise"]


def load(folder: str | PathLike[str]) -> Predictor:
    """Load a student or a graph teacher, to predict molecules in this process, without Ray.

    Args:
        folder: of the model, the file that `gallon.pack` has put it into, or hf://OWNER/NAME on the Hugging Face Hub.

    Raises:
        UsageError: there is no usable model.
    """
    return Predictor(SavedModel(placed(folder)))


def pack(folder: str | PathLike[str], out: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Put a model into one file, to be taken along: `load` and `screen` take it in the place of the folder.

    Args:
        folder: of a student or a graph teacher.
        out: a .zip file, or hf://OWNER/NAME: it goes to the Hugging Face Hub, as a new commit.
        overwrite: whether a file that is there may be replaced.

    Raises:
        UsageError: the folder holds no usable model, or the file must not be written.
        OutputError: the disk is full.
    """
    model, place = placed(folder), placed(out)
    if is_on_hub(place):
        SavedModel(model)
        with packing.unpacked_model(model) as unpacked:
            push_model(unpacked, place)
        return place
    check_output(place, suffixes=[".zip"], inputs=[model], overwrite=overwrite)
    SavedModel(model)  # nothing is packed that could not be loaded
    packing.pack(model, place)
    return place


class Predictor:
    """A student or a graph teacher that predicts molecules in this process."""

    def __init__(self, model: SavedModel) -> None:
        self._model = model

    @property
    def card(self) -> ModelCard:
        """What the model is, and where it comes from."""
        return self._model.card

    @property
    def targets(self) -> list[str]:
        """The names of what it predicts."""
        return [target.name for target in self.card.targets]

    def values(self, molecules: Iterable[str | Mol]) -> NDArray[np.float32]:
        """Predict molecules without pandas.

        Returns:
            (molecules, targets): probabilities of classes, values in the labels' units; NaN where there is no molecule.
        """
        mols, _ = _parsed(list(molecules), "nan")
        columns = prediction_columns(self._model, mols, doubt=False)
        return np.stack([column.astype(np.float32) for column in columns], axis=1)

    def predict(
        self,
        molecules: str | Mol | Iterable[str | Mol] | pd.Series[Any] | pd.DataFrame,
        *,
        smiles_column: str | None = None,
        invalid: Invalid = "nan",
        doubt: bool = False,
    ) -> pd.DataFrame:
        """Predict molecules.

        Args:
            molecules: SMILES, RDKit molecules, a Series of either, or a DataFrame with a column of SMILES. A molecule
                with explicit hydrogens, in Kekulé form or not sanitised is predicted as its SMILES is.
            smiles_column: of a DataFrame; by default the only one with a usual name.
            invalid: what becomes of a SMILES that is no molecule: "nan" leaves its predictions empty and puts the
                reason into the column `error`; "raise" refuses all.
            doubt: whether to tell how far to trust each prediction.

        Returns:
            One row for each molecule, in order and under the index of a Series or DataFrame: one column for each
            target (probabilities of classes, values in the labels' units), and `error`, None where there is none. With
            doubt also the 90 % interval of a number, NAME_low and NAME_high; of an ensemble NAME_spread;
            `similarity` to the nearest training molecule, `nearest_training`, which that is; and `in_domain`.

        Raises:
            UsageError: a DataFrame has no such column, or several that could be meant; the model is one of an earlier
                version that knows nothing of its errors; or, with `invalid="raise"`, something is no molecule.
        """
        import pandas as pd

        values, index = _values(molecules, smiles_column)
        mols, errors = _parsed(values, invalid)
        if doubt and not self._model.doubts:
            raise UsageError("This model knows nothing of its errors: distill it again with this version of gallon.")
        names = prediction_names(self.card, doubt=doubt, taken=("error",))
        columns = dict(zip(names, prediction_columns(self._model, mols, doubt=doubt), strict=True))
        table = pd.DataFrame(columns, index=index)
        table["error"] = pd.Series(errors, index=table.index, dtype=object)
        return table


def _values(molecules: Any, smiles_column: str | None) -> tuple[list[Any], Any]:
    """Return molecules as a list, and the index that they have, if any."""
    import pandas as pd
    from rdkit.Chem import Mol

    if isinstance(molecules, str | Mol):
        return [molecules], None
    if isinstance(molecules, pd.DataFrame):
        column = smiles_column or _smiles_column(list(molecules.columns))
        if column not in molecules.columns:
            raise UsageError(f"The table has no column '{column}': it has {', '.join(map(str, molecules.columns))}.")
        return molecules[column].tolist(), molecules.index
    if isinstance(molecules, pd.Series):
        return molecules.tolist(), molecules.index
    return list(molecules), None


def _smiles_column(columns: Sequence[Any]) -> Any:
    found = smiles_columns([str(column) for column in columns], None)
    if len(found) == 1:
        return found[0]
    what = "several columns that could hold SMILES" if found else "no column with a usual name for SMILES"
    raise UsageError(f"The table has {what}: name one with smiles_column.")


def _parsed(values: Sequence[Any], invalid: Invalid) -> tuple[list[Mol | None], list[str | None]]:
    mols: list[Mol | None] = []
    errors: list[str | None] = []
    for value in values:
        try:
            mols.append(_mol(value))
            errors.append(None)
        except InvalidMoleculeError as error:
            if invalid == "raise":
                raise UsageError(f"Molecule {len(mols)}, {value!r:.100}, {error}.") from None
            mols.append(None)
            errors.append(str(error))
    return mols, errors


def _mol(value: Any) -> Mol:
    """Return a molecule as its SMILES says: features of one with explicit hydrogens, say, are those of another."""
    from rdkit.Chem import Mol, MolToSmiles

    if isinstance(value, Mol):
        value = MolToSmiles(value)
    if not isinstance(value, str):
        raise InvalidMoleculeError(f"is not a SMILES but {type(value).__name__}")
    return read_mol(value.encode())
