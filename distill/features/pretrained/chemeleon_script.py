"""Embed molecules by CheMeleon: `python -I chemeleon_script.py WEIGHTS VECTORS < SMILES`.

It is not imported but run, in chemprop's environment (`chemeleon.py`), and so needs nothing of gallon. Weights are read
as chemprop 2.3 reads them for `--from-foundation CheMeleon` (`chemprop/cli/train.py`), and vectors are what its
`MPNN.fingerprint` returns, as in the authors' own `chemeleon_fingerprint.py` (github.com/JacksonBurns/chemeleon).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from chemprop.data import BatchMolGraph
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from chemprop.models import MPNN
from chemprop.nn import BondMessagePassing, MeanAggregation, RegressionFFN
from rdkit.Chem import MolFromSmiles

AT_A_TIME = 64


def main(weights: str, vectors: str) -> None:
    """Write a vector for each SMILES of the standard input: float32, (N, width), NaN where there is no molecule."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    passing = BondMessagePassing(**state["hyper_parameters"])
    passing.load_state_dict(state["state_dict"])
    model = MPNN(passing, MeanAggregation(), RegressionFFN(input_dim=passing.output_dim)).eval()
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    mols = [MolFromSmiles(line) for line in sys.stdin.read().splitlines()]
    rows = [row for row, mol in enumerate(mols) if mol is not None and mol.GetNumAtoms()]
    found = np.full((len(mols), passing.output_dim), np.nan, dtype=np.float32)
    featurize = SimpleMoleculeMolGraphFeaturizer()
    with torch.inference_mode():
        for first in range(0, len(rows), AT_A_TIME):
            some = rows[first : first + AT_A_TIME]
            batch = BatchMolGraph([featurize(mols[row]) for row in some])
            batch.to(model.device)
            found[some] = model.fingerprint(batch).cpu().numpy()
    with Path(vectors).open("wb") as file:
        np.save(file, found)


if __name__ == "__main__":
    main(*sys.argv[1:])
