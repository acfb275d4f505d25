"""What intervals and calibrated probabilities are worth on molecules that no student has seen.

    python -m tests.benchmarks.doubt --data-root MOLECULENET [--sets esol,lipo,bbbp,inhibitors] [--seeds 5] [--json]

Students on fingerprints, without a teacher, under random and scaffold splits: how many test molecules' labels lie in
their interval, how wide it is, both for the third of the molecules least and most similar to the training part; of
classes the Brier score before and after calibration. `inhibitors` are the demo's molecules, which decided no default.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from cluster.runtime.session import ray_session
from cluster.training.driver import fit_all, plan_resources
from distill.data.dataset import Dataset
from distill.data.moleculenet import load
from distill.data.splits import Split, split
from distill.features.neighbours import Neighbours, packed_of
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import recipe
from distill.models.doubt import LEVEL, Doubt
from tests.benchmarks.screening import inhibitors_in
from tests.support.machine import machine

STUDENT = "student-fingerprint"
KINDS = ("random", "scaffold")
INHIBITORS = "inhibitors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--sets", default="esol,lipo,bbbp,inhibitors")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [
        row for name in arguments.sets.split(",") for row in _rows(_dataset(name, arguments.data_root), arguments.seeds)
    ]
    for row in rows:
        print(
            "  ".join(f"{name} {value:.3f}" if isinstance(value, float) else f"{value}" for name, value in row.items())
        )
    if arguments.json:
        print(json.dumps({"level": LEVEL, "seeds": arguments.seeds, "rows": rows, "machine": machine()}))


def _dataset(name: str, data_root: Path) -> Dataset:
    if name == INHIBITORS:
        with tempfile.TemporaryDirectory() as folder:
            return inhibitors_in(Path(folder))
    return load(name, data_root=data_root)


def _rows(dataset: Dataset, seeds: int) -> list[dict[str, Any]]:
    """Return a row for each kind of split, averaged over the seeds."""
    cases = [(kind, seed, split(dataset, kind, seed=seed)) for kind in KINDS for seed in range(seeds)]  # type: ignore[arg-type]
    predictions = _predictions(dataset, [(seed, parts) for _, seed, parts in cases])
    fingerprints = packed_of(dataset.mols())
    measured: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for (kind, _, parts), prediction in zip(cases, predictions, strict=True):
        held_out, training, test = (fingerprints[rows] for rows in (parts.valid, parts.train, parts.test))
        doubt = Doubt.of(dataset.kind, dataset.labels[parts.valid], prediction[parts.valid], held_out, training)
        judge = _intervals if dataset.kind == "regression" else _classes
        similarity, _ = Neighbours.of(training).nearest(test)
        measured[kind].append(judge(doubt, dataset.labels[parts.test], prediction[parts.test], similarity))
    return [
        {"set": dataset.name, "split": kind, "test": len(next(parts.test for k, _, parts in cases if k == kind))}
        | {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        for kind, found in measured.items()
    ]


def _predictions(dataset: Dataset, cases: list[tuple[int, Split]]) -> list[NDArray[np.float32]]:
    """Train a student under each split and seed; return what it says of all molecules, logits of classes."""
    with tempfile.TemporaryDirectory() as folder, ray_session(None) as session:
        batch = Batch(ModelInputs(dataset, None, Path(folder) / "inputs"))
        for seed, parts in cases:
            batch.add(recipe(STUDENT), parts, seed)
        outcomes = fit_all(batch.fit_set, Path(folder) / "fits", plan_resources(session, None))
    return [outcome.prediction for outcome in outcomes]


def _intervals(
    doubt: Doubt, truth: NDArray[np.float32], said: NDArray[np.float32], similarity: NDArray[np.float64]
) -> dict[str, float]:
    """Return how many labels the intervals hold, and half their width, for all and for thirds by similarity."""
    half = doubt.half_widths(similarity)[:, 0]
    errors = np.abs(truth - said)[:, 0]
    thirds = np.array_split(np.argsort(similarity, kind="stable"), 3)
    found = {"covered": float((errors <= half).mean()), "half": float(half.mean())}
    for name, rows in (("least similar", thirds[0]), ("most similar", thirds[2])):
        found |= {
            f"{name}: covered": float((errors[rows] <= half[rows]).mean()),
            f"{name}: half": float(half[rows].mean()),
            f"{name}: error": float(errors[rows].mean()),
        }
    return found


def _classes(
    doubt: Doubt, truth: NDArray[np.float32], said: NDArray[np.float32], similarity: NDArray[np.float64]
) -> dict[str, float]:
    """Return the Brier scores before and after calibration."""
    before, after = (float(np.nanmean((expit(each) - truth) ** 2)) for each in (said, doubt.calibrated(said)))
    inside = similarity >= doubt.domain
    return {"Brier": before, "Brier, calibrated": after, "in the domain": float(inside.mean())}


if __name__ == "__main__":
    main()
