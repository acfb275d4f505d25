"""Molecules that tests share."""

from __future__ import annotations

SMILES = ["CCO", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1", "O=C(O)c1ccccc1", "CCN(CC)CC", "C1CCCCC1"]
