"""Molecules that tests share."""

from __future__ import annotations

from pathlib import Path

SMILES = ["CCO", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1", "O=C(O)c1ccccc1", "CCN(CC)CC", "C1CCCCC1"]


def write_chains(path: Path, first: int = 1) -> Path:
    """Write a table of 20 alcohols and 20 amines, `length` the number of carbons, counted from `first` on."""
    rows = [f"{'C' * length}{end},{length - 1 + first}" for end in ("O", "N") for length in range(1, 21)]
    path.write_text("\n".join(["smiles,length", *rows]) + "\n")
    return path
