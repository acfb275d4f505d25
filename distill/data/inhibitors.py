"""The demo's molecules: 1,017 sodium-channel inhibitors with measured activity, which come with RDKit's wheel."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

from teacher.errors import UsageError
from teacher.files import replacing

SMILES, ACTIVITY = "smiles", "pIC50"  # the columns of what is written
FILE = "CHEMBL2321810"  # ChEMBL's number of the paper they come from


def write(file: Path, limit: int | None = None) -> None:
    """Write the inhibitors as CSV, or only so many of them.

    Raises:
        UsageError: this RDKit came without its contributed data.
    """
    from rdkit import RDConfig

    folder = Path(RDConfig.RDContribDir) / "FreeWilson" / "data"
    try:
        molecules = [line.split() for line in (folder / f"{FILE}.smi").read_text().splitlines()]
        activities = dict(islice(csv.reader((folder / f"{FILE}_act.csv").open()), 1, None))
    except FileNotFoundError as error:
        raise UsageError(f"This RDKit came without {error.filename}: install the wheel of the package rdkit.") from None
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as aside, aside.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow((SMILES, ACTIVITY))
        rows.writerows((smiles, activities[name]) for smiles, name in islice(molecules, limit))
