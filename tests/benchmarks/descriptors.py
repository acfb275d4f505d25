"""Which descriptors a student needs: judged by nested splits, so that no test part of a table has a say.

    python -m tests.benchmarks.descriptors --data-root MOLECULENET [--sets esol,lipo,bbbp,clintox] [--splits 10]
        [--processes 2] [--json]

Students on fingerprints, without a teacher, on molecules of the training and validation parts of the scaffold split
alone, which are split anew as in `tests.benchmarks.epoch_choice`: with the descriptors `lean` and `estimated`, and with
Crippen's values as RDKit computes them in the place of those that `lean` estimates.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit.Chem.rdMolDescriptors import CalcCrippenDescriptors

from cluster.training.group import ProcessGroup, shard_of
from cluster.training.loop import Training
from cluster.training.results import read_outcome
from distill.data.splits import split
from distill.features.environments import FINGERPRINT_BITS
from distill.features.vectors import DescriptorSet, descriptor_names
from distill.judge.significance import over_splits
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.metrics import main_metric, score
from distill.learn.recipes import recipe
from tests.benchmarks.epoch_choice import learnt_from
from tests.support.machine import machine

EXACT = "lean, exact Crippen"  # what the others are compared with
VARIANTS: dict[str, DescriptorSet] = {EXACT: "lean", "lean": "lean", "estimated": "estimated"}
Case = tuple[str, int, str]  # set, number of the split, variant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--sets", default="esol,lipo,bbbp,clintox")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sets = arguments.sets.split(",")
    cases = [(name, number, variant) for number in range(arguments.splits) for name in sets for variant in VARIANTS]
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        found = dict(zip(cases, pool.map(_one, cases, [arguments.data_root] * len(cases)), strict=True))
    rows = [row for name in sets for row in _rows(name, found)]
    for row in rows:
        cells = [f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()]
        print("  ".join(cell.ljust(20) for cell in cells))
    if arguments.json:
        print(json.dumps({"compared_with": EXACT, "rows": rows, "machine": machine()}))


class Exact(ModelInputs):
    """Reads Crippen's values as RDKit computes them, where students read estimates."""

    def features(self, descriptors: DescriptorSet) -> NDArray[np.float32]:
        values = super().features(descriptors).copy()
        behind = FINGERPRINT_BITS + len(descriptor_names(descriptors))
        values[:, behind - 2 : behind] = [CalcCrippenDescriptors(mol) for mol in self.dataset.mols()]
        return values


def _one(case: Case, data_root: Path) -> dict[str, Any]:
    """Train one student under one split, and judge it by the molecules that neither trained nor chose."""
    name, number, variant = case
    torch.set_num_threads(1)
    dataset = learnt_from(name, data_root)
    parts = split(dataset, "scaffold-cv", seed=number)
    with tempfile.TemporaryDirectory() as folder:
        inputs = (Exact if variant == EXACT else ModelInputs)(dataset, None, Path(folder) / "inputs")
        batch = Batch(inputs)
        batch.add(replace(recipe("student-fingerprint"), descriptors=VARIANTS[variant]), parts, number)
        (fit,) = batch.fit_set.fits
        alone = ProcessGroup(0, 1, "cpu")
        shard = shard_of([fit], batch.fit_set.inputs, batch.fit_set.columns, alone)
        Training(fit, shard, alone, Path(folder)).run()
        said = read_outcome(Path(folder), fit.id).prediction
    metric = main_metric(dataset.kind)
    value = score(dataset.kind, dataset.labels[parts.test], said[parts.test])[metric]
    return {"metric": metric, "score": value, "ratio": len(parts.test) / (len(dataset) - len(parts.test))}


def _rows(name: str, found: dict[Case, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each variant, its mean, and how much better it is than with exact values, with an interval."""
    cases = [[one for case, one in found.items() if (case[0], case[2]) == (name, variant)] for variant in VARIANTS]
    values = np.array([[one["score"] for one in of_variant] for of_variant in cases])
    first = cases[0][0]
    signed = values if first["metric"] == "roc_auc" else -values
    pairs = over_splits(list(VARIANTS), signed, first["ratio"])
    rows = []
    for variant, scores in zip(VARIANTS, values, strict=True):
        gain, half = pairs.between(variant, EXACT) if pairs else (0.0, float("nan"))
        rows.append(
            {"set": name, "variant": variant, "splits": len(scores), "metric": first["metric"]}
            | {"mean": float(scores.mean()), "gain": gain, "half": half}
        )
    return rows


if __name__ == "__main__":
    main()
