"""Learn the estimate of Crippen's values anew.

    python -m distill.features.fit_crippen --library pubchem.smi.zst --library chembl.smi.zst

says how well it estimates molecules that it has not learnt from, and writes the file that `crippen.estimate` reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from distill.features.crippen import FILE, NAMES
from distill.features.vectors import counts_and_properties

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol

PENALTY = 30.0  # of the ridge, on standardised columns
ROWS = 60_000  # molecules to learn from


def main(
    library: Annotated[list[Path], typer.Option(help="SMILES files (.smi, may be compressed), repeated.")],
    rows: Annotated[int, typer.Option(min=1, help="Molecules to learn from, at most.")] = ROWS,
    out: Annotated[Path, typer.Option(help="The file to write.")] = FILE,
) -> None:
    """Learn the regression from molecules of a library, and test it with others."""
    from rdkit.Chem.rdMolDescriptors import CalcCrippenDescriptors
    from safetensors.numpy import save_file
    from sklearn.metrics import r2_score, root_mean_squared_error

    mols, test = _molecules(library, rows)
    features, crippen = counts_and_properties(mols), np.array([CalcCrippenDescriptors(mol) for mol in mols])
    known = np.isfinite(features).all(axis=1)
    learnt, test = known & ~test, known & test
    arrays = fit(features[learnt], crippen[learnt])
    guess, truth = features[test] @ arrays["weights"] + arrays["bias"], crippen[test]
    errors = root_mean_squared_error(truth, guess, multioutput="raw_values")
    for name, error, share in zip(NAMES, errors, r2_score(truth, guess, multioutput="raw_values"), strict=True):
        typer.echo(
            f"{name}: RMSE {error:.3f}, R2 {share:.4f} on {test.sum():,} molecules; learnt from {learnt.sum():,}"
        )
    save_file(arrays, out)


def _molecules(library: list[Path], rows: int) -> tuple[list[Mol], NDArray[np.bool_]]:
    """Return so many molecules of a library, and which of them are for the test: those that `tiny` is tested with."""
    from itertools import islice
    from random import Random

    from teacher.tiny.examples import held_out
    from teacher.tiny.library import read, valid

    smiles = list(read(library))
    Random(0).shuffle(smiles)
    molecules = list(islice(valid(smiles), rows))
    return [molecule.mol for molecule in molecules], np.array([held_out(molecule.key) for molecule in molecules])


def fit(features: NDArray[np.float32], crippen: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """Learn what `estimate` reads: the weights, (F, 2), and the bias, (2,)."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    scaler, ridge = StandardScaler(), Ridge(alpha=PENALTY)
    ridge.fit(scaler.fit_transform(features.astype(np.float64)), crippen)
    weights = (ridge.coef_ / scaler.scale_).T
    bias = ridge.intercept_ - scaler.mean_ @ weights
    return {"weights": weights.astype(np.float32), "bias": bias.astype(np.float32)}


if __name__ == "__main__":
    typer.run(main)
