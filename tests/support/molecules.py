"""Molecules that tests share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit.DataStructs import BulkTanimotoSimilarity, ExplicitBitVect

SMILES = ["CCO", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1", "O=C(O)c1ccccc1", "CCN(CC)CC", "C1CCCCC1"]


def write_chains(path: Path, first: int = 1) -> Path:
    """Write a table of 20 alcohols and 20 amines, `length` the number of carbons, counted from `first` on."""
    rows = [f"{'C' * length}{end},{length - 1 + first}" for end in ("O", "N") for length in range(1, 21)]
    path.write_text("\n".join(["smiles,length", *rows]) + "\n")
    return path


def tanimoto(one: ExplicitBitVect, others: Sequence[ExplicitBitVect]) -> NDArray[np.float64]:
    """Return RDKit's Tanimoto similarity of a fingerprint to each of others, to hold ours against."""
    return np.array(BulkTanimotoSimilarity(one, others))
