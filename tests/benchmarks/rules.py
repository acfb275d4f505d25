"""What rules that LLMs named for a task are worth, beside their controls.

    python -m tests.benchmarks.rules --data-root MOLECULENET --rules llm4sd_features.jsonl
        [--sets esol,hiv] [--seeds 3] [--rows 10000] [--kept FOLDER] [--recipes rules,rules-all] [--json]

Rules of several LLMs that saw no data (LLM4SD), imported by `gallon rules import`. Perceptrons of one size on: the
student's features; the rules; both; the student's features and shuffled rules; as many of RDKit's descriptors at
random; all of them; and the mean of the student and the rules. Scaffold split, one schedule for all, the epoch chosen
on validation. ESOL has been looked at often; nothing was ever chosen on HIV, of which a
random sample of --rows is taken.
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
from distill.data.dataset import Dataset, read
from distill.data.moleculenet import load
from distill.data.splits import Split, split
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.metrics import main_metric, score
from distill.learn.recipes import recipe
from distill.rules.imported import rules_of
from tests.support.machine import machine

ABOUT = {"esol": "esol", "lipo": "lipophilicity", "bbbp": "bbbp", "clintox": "clintox", "hiv": "hiv"}
RECIPES = ["student-fingerprint", "rules", "rules-beside", "rules-shuffled", "rules-random", "rules-all"]
TOGETHER = ("student-fingerprint", "rules")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--rules", type=Path, required=True)
    parser.add_argument("--sets", default="esol,hiv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--kept", type=Path, help="folder of features and fits: the same command goes on there")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.sets.split(","):
        with tempfile.TemporaryDirectory() as folder:
            rows += _rows(name, arguments, (arguments.kept or Path(folder)) / name)
    if arguments.json:
        print(json.dumps({"seeds": arguments.seeds, "rows": rows, "machine": machine()}))


def _rows(name: str, arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Train every recipe under every seed, and score it on the validation and the test part."""
    dataset = load(name, data_root=arguments.data_root)
    folder.mkdir(parents=True, exist_ok=True)
    if len(dataset) > arguments.rows:
        dataset = _sample(dataset, arguments.rows, folder / f"{name}.csv")
    rules = rules_of([arguments.rules], ABOUT[name], ABOUT[name])
    parts = split(dataset, "scaffold")
    rows = []
    model_inputs = ModelInputs(dataset, None, folder, rules=rules)
    for method, said in _predictions(model_inputs, parts, arguments.recipes.split(","), arguments.seeds).items():
        row = {"set": name, "molecules": len(dataset), "rules": len(rules.rules), "method": method}
        row |= _scores(dataset, parts, said)
        print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{v}" for k, v in row.items()), flush=True)
        rows.append(row)
    return rows


def _predictions(
    model_inputs: ModelInputs, parts: Split, names: list[str], seeds: int
) -> dict[str, list[NDArray[np.float32]]]:
    """Return what each method says of all molecules, seed by seed; probabilities of classes."""
    named = [(name, seed) for name in names for seed in range(seeds)]
    with ray_session(None) as session:
        batch = Batch(model_inputs)
        for name, seed in named:
            batch.add(recipe(name), parts, seed)
        outcomes = fit_all(batch.fit_set, model_inputs.folder / "fits", plan_resources(session, None))
    classes = model_inputs.dataset.kind == "classification"
    said: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for (name, _), outcome in zip(named, outcomes, strict=True):
        said[name].append(expit(outcome.prediction) if classes else outcome.prediction)
    if set(TOGETHER) <= set(names):
        pairs = zip(*(said[name] for name in TOGETHER), strict=True)
        said["mean of student and rules"] = [np.mean(pair, axis=0) for pair in pairs]
    return said


def _scores(dataset: Dataset, parts: Split, said: list[NDArray[np.float32]]) -> dict[str, Any]:
    metric = main_metric(dataset.kind)
    valid, test = (
        [score(dataset.kind, dataset.labels[rows], one[rows])[metric] for one in said]
        for rows in (parts.valid, parts.test)
    )
    spread = float(np.std(test, ddof=1)) if len(test) > 1 else 0.0
    return {"metric": metric, "valid": float(np.mean(valid)), "test": float(np.mean(test)), "std": spread}


def _sample(dataset: Dataset, most: int, file: Path) -> Dataset:
    """Return a random sample of a set."""
    names = [target.name for target in dataset.targets]
    lines = [",".join(["smiles", *names])]
    for row in np.sort(np.random.default_rng(0).permutation(len(dataset))[:most]):
        cells = ["" if np.isnan(label) else f"{label:g}" for label in dataset.labels[row]]
        lines.append(",".join([dataset.smiles[row], *cells]))
    file.write_text("\n".join(lines) + "\n")
    return read(file, targets=names)


if __name__ == "__main__":
    main()
