"""How fast networks train on a GPU, by how many fits share it, and how fast on a core of the same machine.

    python -m tests.benchmarks.gpu_training --data-root MOLECULENET [--set lipo] [--networks dmpnn ...]
        [--side-by-side 1 4 8] [--molecules N] [--out FOLDER] [--json]

Each fit is a process of its own with one thread, as `cluster.training.independent` has it, and takes the steps of its
recipe; the processes begin together. An epoch's seconds are those between two scores, the first left out; the rate is
the sum over the processes. `batches` is what a core does that only puts batches together: training on a GPU cannot be
faster. Without a GPU there is the core alone.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from cluster.training.examples import examples_of
from cluster.training.fit import Fit, FitSet
from cluster.training.group import ProcessGroup, shard_of
from cluster.training.loop import Training
from distill.data.dataset import Dataset
from distill.data.moleculenet import load
from distill.data.splits import split
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import recipe
from tests.support.machine import machine

NETWORKS = ("dmpnn", "gin", "gat", "gcn", "student-atoms", "student-fingerprint")
EPOCHS = 4
VALIDATED = 16  # which takes no time
PATIENCE = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="folder of MoleculeNet's files")
    parser.add_argument("--set", default="lipo", help="whose molecules")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="recipes")
    parser.add_argument("--side-by-side", type=int, nargs="+", default=(1, 4, 8), help="fits on the GPU")
    parser.add_argument("--molecules", type=int, default=8_192, help="of an epoch, at most")
    parser.add_argument("--out", type=Path, help="folder for the result; default: none is written")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    numbers = arguments.side_by_side if gpu else ()
    rows = []
    dataset = load(arguments.set, data_root=arguments.data_root)
    for row in measured(dataset, arguments.networks, arguments.molecules, numbers):
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        rows.append(row)
    result = {"set": arguments.set, "gpu": gpu, "molecules_per_second": rows, "machine": machine()}
    if arguments.out:
        (arguments.out / "gpu_training.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(result))


def measured(
    dataset: Dataset, networks: Sequence[str], molecules: int, numbers: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Yield the rates of each network."""
    with tempfile.TemporaryDirectory() as folder:
        model_inputs, parts = ModelInputs(dataset, None, Path(folder)), split(dataset)
        for network in networks:
            batch = Batch(model_inputs)
            batch.add(recipe(network), parts, seed=0)
            fits = _short(batch.fit_set, molecules)
            yield {
                "network": network,
                "batches": round(_rate_of_batches(fits)),
                "core": round(_rate(fits, 1, "cpu")),
                **{f"gpu x{number}": round(_rate(fits, number, "cuda")) for number in numbers},
            }


def _short(fits: FitSet, molecules: int) -> FitSet:
    (fit,) = fits.fits
    train, valid = fit.train[:molecules], fit.valid[:VALIDATED]
    short = replace(fit, schedule=replace(fit.schedule, epochs=EPOCHS), train=train, valid=valid)
    return replace(fits, fits=[short])


def _rate_of_batches(fits: FitSet) -> float:
    """Return the molecules a second of who puts batches together, and does nothing else."""
    (fit,), alone, seconds = fits.fits, ProcessGroup(0, 1, "cpu"), []
    examples = examples_of(fit, shard_of([fit], fits.inputs, fits.columns, alone), alone)
    for epoch in range(EPOCHS):
        begun = time.perf_counter()
        for _ in examples.of_epoch(epoch, 0):
            pass
        seconds.append(time.perf_counter() - begun)
    return len(fit.train) / median(seconds)


def _rate(fits: FitSet, processes: int, device: str) -> float:
    """Return the molecules a second of so many fits together."""
    context = multiprocessing.get_context("spawn")
    told: Queue[list[float]] = context.Queue()
    together = context.Barrier(processes)
    with tempfile.TemporaryDirectory() as folder:
        workers = [
            context.Process(target=_work, args=(fits, device, Path(folder) / str(number), together, told))
            for number in range(processes)
        ]
        for worker in workers:
            worker.start()
        moments = [told.get(timeout=PATIENCE) for _ in workers]
        for worker in workers:
            worker.join()
    seconds = [median(later - earlier for earlier, later in pairwise(of_one)) for of_one in moments]
    return sum(len(fits.fits[0].train) / one for one in seconds)


def _work(fits: FitSet, device: str, folder: Path, together: Barrier, told: Queue[list[float]]) -> None:
    torch.set_num_threads(1)
    folder.mkdir()
    moments = list[float]()
    fit: Fit = replace(fits.fits[0], score=functools.partial(_noted, moments))
    group = ProcessGroup(0, 1, device)
    training = Training(fit, shard_of([fit], fits.inputs, fits.columns, group), group, folder)
    together.wait(PATIENCE)
    training.run()
    told.put(moments)


def _noted(moments: list[float], truth: np.ndarray, prediction: np.ndarray) -> float:
    moments.append(time.perf_counter())
    return -float(np.square(truth - prediction).mean())


if __name__ == "__main__":
    main()
