"""Which weights of a fit to keep: one fit is read in many ways, and each is judged by molecules that chose nothing.

    python -m tests.benchmarks.epoch_choice --data-root MOLECULENET [--sets esol,lipo,bbbp,clintox]
        [--networks student-fingerprint,gcn,gin,dmpnn] [--splits 10] [--processes 2] [--kept FITS.jsonl] [--json]

Only molecules of the training and validation parts of the deterministic scaffold split take part: they are split anew,
by five-fold cross-validation over scaffolds, into those that train, those that choose and those that judge, so that the
test part of that split decides nothing. (Every molecule of a set is in some test part of a cross-validation over all of
it: there is no data of these sets that no table ever reported.)

The ways: the epoch with the best validation score; with the least validation loss; with the best score averaged over
its neighbours; the best of the second half; the last; the mean of the weights of the last quarter (Izmailov et al., UAI
2018); and an exponential moving average of the weights, whose memory is a tenth of the fit, chosen by score or last.
Averages are of the statistics of BatchNorm, too.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.training.fit import Fit
from cluster.training.group import ProcessGroup, shard_of
from cluster.training.loop import Training
from distill.data.dataset import Dataset
from distill.data.moleculenet import load
from distill.data.splits import Split, split
from distill.judge.significance import over_splits
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.metrics import main_metric, score
from distill.learn.recipes import recipe
from tests.support.machine import machine

NOW = "best score"  # what the others are compared with
SMOOTHED = 0.1  # share of the epochs that a score is averaged over, and that the moving average remembers
LAST = 0.25  # share of the epochs whose weights are averaged
Case = tuple[str, str, int]  # set, network, number of the split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--sets", default="esol,lipo,bbbp,clintox")
    parser.add_argument("--networks", default="student-fingerprint,gcn,gin,dmpnn")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kept", type=Path, help="where fits are kept; the same call again does only the others")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cases = [
        (name, network, number)
        for number in range(arguments.splits)
        for name in arguments.sets.split(",")
        for network in arguments.networks.split(",")
    ]
    found = _all(cases, arguments.data_root, arguments.processes, arguments.kept)
    rows = [row for name, network in dict.fromkeys(case[:2] for case in cases) for row in _rows(name, network, found)]
    for row in rows:
        cells = [f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()]
        print("  ".join(cell.ljust(20) for cell in cells))
    if arguments.json:
        print(json.dumps({"now": NOW, "rows": rows, "machine": machine()}))


def _all(cases: list[Case], data_root: Path, processes: int, kept: Path | None) -> dict[Case, dict[str, Any]]:
    """Return what was found under each case, after the fits that are not kept yet."""
    lines = kept.read_text(encoding="utf-8").splitlines() if kept and kept.exists() else []
    found = {tuple(one["case"]): one for one in map(json.loads, lines)}
    left = [case for case in cases if case not in found]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for one in pool.map(_one, left, [data_root] * len(left)):
            found[tuple(one["case"])] = one
            if kept:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(one) + "\n")
    return {case: found[case] for case in cases}


def _one(case: Case, data_root: Path) -> dict[str, Any]:
    """Train one network under one split, and judge every way to choose its weights."""
    name, network, number = case
    torch.set_num_threads(1)
    dataset = learnt_from(name, data_root)
    parts = split(dataset, "scaffold-cv", seed=number)
    with tempfile.TemporaryDirectory() as folder:
        batch = Batch(ModelInputs(dataset, None, Path(folder) / "inputs"))
        batch.add(recipe(network), parts, number)
        (fit,) = batch.fit_set.fits
        alone = ProcessGroup(0, 1, "cpu")
        shard = shard_of([fit], batch.fit_set.inputs, batch.fit_set.columns, alone)
        recorded = Recorded(fit, shard, alone, Path(folder), parts)
        recorded.run()
    return {"case": case, "ratio": len(parts.test) / (len(dataset) - len(parts.test)), **recorded.judged(dataset)}


@cache
def learnt_from(name: str, data_root: Path) -> Dataset:
    """Return a set without the test part of its scaffold split."""
    whole = load(name, data_root=data_root, targets=["CT_TOX"] if name == "clintox" else [])
    parts = split(whole, "scaffold")
    rows = np.sort(np.concatenate([parts.train, parts.valid]))
    smiles, keys = (tuple(column[row] for row in rows) for column in (whole.smiles, whole.keys))
    return replace(whole, smiles=smiles, keys=keys, labels=whole.labels[rows], groups=None)


class Recorded(Training):
    """A fit that records what its weights, and their averages, say after each epoch."""

    def __init__(self, fit: Fit, shard: Any, group: ProcessGroup, folder: Path, parts: Split) -> None:
        super().__init__(fit, shard, group, folder)
        self._parts = parts
        self._moving = copy.deepcopy(self._learner)
        self._memory = max(1.0, SMOOTHED * fit.schedule.epochs)
        self._tail = round(LAST * fit.schedule.epochs)
        self._mean: dict[str, torch.Tensor] = {}
        self.said: dict[str, list[tuple[NDArray[np.float32], NDArray[np.float32]]]] = defaultdict(list)

    def _validate(self, terms: dict[str, float]) -> bool:
        goes_on = super()._validate(terms)
        weights = {name: value.detach().clone() for name, value in self._learner.state_dict().items()}
        _drift(self._moving, weights, 1 / min(self._memory, self._epoch))
        self.said["weights"].append(self._asked(self._learner))
        self.said["moving"].append(self._asked(self._moving))
        left = self._fit.schedule.epochs - self._epoch
        if left < self._tail:
            share = 1 / (self._tail - left)
            for name, value in weights.items():
                before = self._mean.setdefault(name, value.clone())
                self._mean[name] = before.lerp(value, share) if value.is_floating_point() else value
        return goes_on

    def _finish(self) -> None:
        averaged = copy.deepcopy(self._learner)
        averaged.load_state_dict(self._mean)
        self.said["mean"].append(self._asked(averaged))

    def _asked(self, learner: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what a network says of the molecules that choose and of those that judge."""
        asked, self._average.learner = self._average.learner, learner  # which is the one that predicts
        said = tuple(self._predict(rows)[0] for rows in (self._parts.valid, self._parts.test))
        self._average.learner = asked
        return said  # type: ignore[return-value]

    def judged(self, dataset: Dataset) -> dict[str, Any]:
        """Return what each way keeps: its epoch, and how good it is on the molecules that judge."""
        valid, test = dataset.labels[self._parts.valid], dataset.labels[self._parts.test]
        scores = {name: np.array([self._fit.score(valid, said) for said, _ in of]) for name, of in self.said.items()}
        losses = [_loss(dataset, valid, said) for said, _ in self.said["weights"]]
        last, half = len(losses) - 1, len(losses) // 2
        ways = {
            NOW: ("weights", int(scores["weights"].argmax())),
            "least loss": ("weights", int(np.argmin(losses))),
            "smoothed score": ("weights", int(_smooth(scores["weights"], self._memory).argmax())),
            "second half": ("weights", half + int(scores["weights"][half:].argmax())),
            "last": ("weights", last),
            "mean of last": ("mean", 0),
            "moving, best score": ("moving", int(scores["moving"].argmax())),
            "moving, last": ("moving", last),
        }
        metric = main_metric(dataset.kind)
        found = {way: score(dataset.kind, test, self.said[of][epoch][1])[metric] for way, (of, epoch) in ways.items()}
        valids = {way: float(scores[of][epoch]) for way, (of, epoch) in ways.items()}
        epochs = {way: epoch + 1 for way, (of, epoch) in ways.items() if of != "mean"}
        return {"metric": metric, "scores": found, "valid": valids, "epochs": epochs, "of": last + 1}


def _drift(moving: torch.nn.Module, weights: dict[str, torch.Tensor], share: float) -> None:
    """Move averaged weights towards new ones."""
    state = moving.state_dict()
    moved = {
        name: state[name].lerp(value, share) if value.is_floating_point() else value for name, value in weights.items()
    }
    moving.load_state_dict(moved)


def _loss(dataset: Dataset, truth: NDArray[np.float32], said: NDArray[np.float32]) -> float:
    """Return the mean loss of the task."""
    known = ~np.isnan(truth)
    if dataset.kind == "regression":
        return float(((said - truth)[known] ** 2).mean())
    return float(np.logaddexp(0, np.where(truth == 1, -said, said))[known].mean())


def _smooth(scores: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Average each score with those around it, so many together; at the ends with those that there are."""
    reach = max(1, round(width / 2))
    return np.array([scores[max(0, place - reach) : place + reach + 1].mean() for place in range(len(scores))])


def _rows(name: str, network: str, found: dict[Case, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each way, its mean, and how much better it is than what is done now, with an interval."""
    cases = [one for case, one in found.items() if case[:2] == (name, network)]
    ways = list(cases[0]["scores"])
    sign = 1 if cases[0]["metric"] == "roc_auc" else -1
    values = np.array([[one["scores"][way] for one in cases] for way in ways])
    rows = []
    for way, scores in zip(ways, values, strict=True):
        pair = over_splits([way, NOW], sign * np.stack([scores, values[ways.index(NOW)]]), cases[0]["ratio"])
        gain, half = pair.between(way, NOW) if pair else (0.0, float("nan"))
        epochs = [one["epochs"].get(way, one["of"]) / one["of"] for one in cases]
        rows.append(
            {"set": name, "network": network, "way": way, "splits": len(cases), "mean": float(scores.mean())}
            | {"gain": gain, "half": half, "epoch": float(np.median(epochs))}
        )
    return rows


if __name__ == "__main__":
    main()
