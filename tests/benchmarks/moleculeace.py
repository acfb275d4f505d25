"""How methods fare on thirty sets that no default was chosen by, and on their activity cliffs.

    pip install --no-deps --target ace MoleculeACE
    python -m tests.benchmarks.moleculeace ace/MoleculeACE/Data/benchmark_data [--sets CHEMBL1862_Ki,...]
        [--methods student,dmpnn,...] [--transfer LIBRARY] [--seeds 1] [--folder WORK] [--out RESULTS] [--json]

MoleculeACE (van Tilborg et al., J. Chem. Inf. Model. 2022, 62, 5938): affinities of ChEMBL for thirty targets, 615 to
3,657 molecules each, as -log10 of nM. Its own split stays: a fifth is the test part, drawn so that it has its share of
cliffs. Of the rest an eighth, by a hash of the SMILES, is the validation part. All settings are the defaults.

Small sets come first. What is done stays in WORK, and the same command goes on there; with --out each set is put into
RESULTS/moleculeace.json as it is done, of which `python -m tests.benchmarks.moleculeace_table` makes the table.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gallon
from distill.data.dataset import read
from distill.judge.cliffs import cliffs
from tests.benchmarks.moleculeace_table import KEPT, show
from tests.support.machine import machine

METHODS = "random_forest,gradient_boosting,lightgbm,dmpnn,minimol,student,student+gnn"
OF_LIBRARY = ",student+gnn+transfer"
VALIDATION = 8  # one molecule in so many of those that MoleculeACE trains on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="MoleculeACE's folder of tables")
    parser.add_argument("--sets", help="names, separated by commas; default: all")
    parser.add_argument("--methods", help=f"default: {METHODS}, with --transfer also {OF_LIBRARY.strip(',')}")
    parser.add_argument("--transfer", type=Path, help="a library, of which students learn from 5,000 molecules")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("moleculeace"), help="where what is done is kept")
    parser.add_argument("--out", type=Path, help="folder for the result; default: none is written")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    methods = (arguments.methods or METHODS + (OF_LIBRARY if arguments.transfer else "")).split(",")
    names = arguments.sets.split(",") if arguments.sets else [file.stem for file in arguments.data.glob("*.csv")]
    files = sorted((arguments.data / f"{name}.csv" for name in names), key=lambda file: file.stat().st_size)
    found: dict[str, Any] = {}
    with gallon.session():
        for file in files:
            found[file.stem] = _compared(file, methods, arguments)
            print(
                file.stem, *(f"{name} {row['rmse']:.3f}" for name, row in found[file.stem]["rows"].items()), flush=True
            )
            if arguments.out:
                _keep(arguments.out / KEPT, found)
    show(found)
    if arguments.json:
        print(json.dumps({"sets": found, "machine": machine()}))


def _compared(file: Path, methods: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare methods on one set, or read the table where that was done."""
    out = arguments.folder / file.stem
    out.mkdir(parents=True, exist_ok=True)
    table = out / f"{file.stem}.csv"
    published = _write(file, table)
    gallon.evaluate(
        table,
        target="y",
        split="column",
        split_column="part",
        methods=methods,
        seeds=arguments.seeds,
        transfer=[str(arguments.transfer)] if arguments.transfer else None,
        out=out,
    )
    facts = json.loads((out / "table.json").read_text(encoding="utf-8"))
    on_cliffs = {row["method"]: row["cliff"] for row in facts["cliffs"]}
    rows = {
        row["method"]: {
            "rmse": row["mean"],
            "cliff": on_cliffs.get(row["method"]),
            **{key: row[key] for key in ("valid", "chosen", "fits", "spent")},
        }
        for row in facts["rows"]
    }
    return {
        "molecules": facts["dataset"]["molecules"],
        "sha256": facts["dataset"]["sha256"],
        "seeds": arguments.seeds,
        "versions": facts["versions"],
        "machine": machine(),
        **_of_cliffs(table, published),
        "rows": rows,
    }


def _write(file: Path, table: Path) -> Mapping[str, bool]:
    """Write the set with a validation part, and return which of its molecules MoleculeACE says form a cliff."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    with table.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["smiles", "y", "part"])
        writer.writerows([row["smiles"], row["y"], _part(row)] for row in rows)
    return {row["smiles"]: row["cliff_mol"] == "1" for row in rows}


def _part(row: Mapping[str, str]) -> str:
    if row["split"] == "test":
        return "test"
    digest = hashlib.sha256(row["smiles"].encode()).digest()
    return "train" if int.from_bytes(digest[:8]) % VALIDATION else "valid"


def _of_cliffs(table: Path, published: Mapping[str, bool]) -> dict[str, Any]:
    """Count the molecules of cliffs, ours and MoleculeACE's, and those that both call the same."""
    smiles = list(published)
    dataset = read(table, targets=["y"], split_column="part")
    ours = cliffs(dataset.smiles, dataset.labels)
    if ours is None or len(dataset) != len(smiles):
        raise SystemExit(f"{table}: {len(smiles)} molecules, of which {len(dataset)} differ.")
    theirs = np.array(list(published.values()))
    return {
        "cliffs": int(ours.sum()),
        "cliffs_published": int(theirs.sum()),
        "agree": float((ours[:, 0] == theirs).mean()),
    }


def _keep(file: Path, found: Mapping[str, Any]) -> None:
    """Put sets in the place of the same ones."""
    before = json.loads(file.read_text(encoding="utf-8"))["sets"] if file.is_file() else {}
    file.write_text(json.dumps({"sets": {**before, **found}}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
