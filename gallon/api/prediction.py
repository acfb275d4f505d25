"""Score molecules by a student: a whole library on Ray, or a few molecules in this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cluster.library.columns import smiles_columns
from distill.learn.model_store import ModelCard, usable_card
from distill.screen.columns import prediction_columns, prediction_fields
from distill.screen.saved_model import SavedModel
from distill.screen.screening import Screened
from distill.screen.screening import screen as score
from gallon.api.annotation import started_ray
from gallon.api.library import Library, StrPath, check_rows_output, kept_of, sources_of
from gallon.config import LibraryConfig, ShortKeepConfig
from gallon.progress import ProgressCallback, phase
from teacher.chemistry.molecule import InvalidMoleculeError, read_mol
from teacher.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from rdkit.Chem import Mol

Invalid = Literal["nan", "raise"]


def screen(
    library: Library,
    *,
    reading: LibraryConfig,
    student: StrPath,
    out: StrPath,
    overwrite: bool = False,
    keeping: ShortKeepConfig,
    doubt: bool = True,
    ray: str | None = None,
    progress: ProgressCallback | None = None,
) -> Screened:
    """Score a whole library by a student: one row out for each row in, with its columns.

    Args:
        library: paths, globs or URLs of files with molecules.
        reading: how the files are read.
        student: the folder of a student or a graph teacher.
        out: a .csv, .tsv, .parquet or .jsonl file, or .sdf if the library is one.
        overwrite: whether a file that is there may be replaced.
        keeping: which columns of the library are written, too.
        doubt: whether it is told how far to trust each prediction: intervals of numbers, similarity to the nearest
            training molecule, which that is, and whether the molecule is in the model's domain.
        ray: address of a Ray cluster; by default RAY_ADDRESS, or a local one.
        progress: called as rows are done.

    Raises:
        UsageError: there is no such model, or the file cannot be written.
        LibraryError: a file of the library cannot be read.
        NoMoleculeError: no row holds a molecule; no file is written.
    """
    sources, path = sources_of(library, reading), Path(out)
    check_rows_output(path, sources, overwrite=overwrite)
    usable_card(Path(student))  # a mistake need not wait for a cluster to start
    kept, limit = kept_of(sources, keeping, path, reading.limit), reading.limit
    with started_ray(ray, progress) as session, phase(progress, "screening", "rows") as running:
        return score(
            sources, Path(student), path, limit=limit, session=session, kept=kept, doubt=doubt, show=running.update
        )


def load(folder: StrPath) -> Predictor:
    """Load a student or a graph teacher, to predict molecules in this process, without Ray.

    Raises:
        UsageError: the folder holds no usable model.
    """
    return Predictor(SavedModel(Path(folder)))


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
            molecules: SMILES, RDKit molecules, a Series of either, or a DataFrame with a column of SMILES.
            smiles_column: of a DataFrame; by default the only one with a usual name.
            invalid: what becomes of a SMILES that is no molecule: "nan" leaves its predictions empty and puts the
                reason into the column `error`; "raise" refuses all.
            doubt: whether to tell how far to trust each prediction.

        Returns:
            One row for each molecule, in order and under the index of a Series or DataFrame: one column for each
            target (probabilities of classes, values in the labels' units), and `error`, None where there is none. With
            doubt also the 90 % interval of a number, NAME_low and NAME_high; `similarity` to the nearest training
            molecule, `nearest_training`, which that is; and `in_domain`.

        Raises:
            UsageError: a DataFrame has no such column, or several that could be meant; the model is one of an earlier
                version that knows nothing of its errors; or, with `invalid="raise"`, something is no molecule.
        """
        import pandas as pd

        values, index = _values(molecules, smiles_column)
        mols, errors = _parsed(values, invalid)
        if doubt and not self._model.doubts:
            raise UsageError("This model knows nothing of its errors: distill it again with this version of gallon.")
        fields = prediction_fields(self.card, doubt=doubt, taken=("error",))
        predicted = prediction_columns(self._model, mols, doubt=doubt)
        columns = {field.name: column for field, column in zip(fields, predicted, strict=True)}
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
    """Return a molecule as it was given, or as its SMILES says."""
    from rdkit.Chem import Mol

    if isinstance(value, Mol):
        return value
    if not isinstance(value, str):
        raise InvalidMoleculeError(f"is not a SMILES but {type(value).__name__}")
    return read_mol(value.encode())
