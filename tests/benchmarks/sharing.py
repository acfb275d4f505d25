"""How much faster training is when two processes share each step, by network and molecules of a step.

    python -m tests.benchmarks.sharing [--networks dmpnn ...] [--molecules 64 ...] [--workers 2] [--json]

Each process has one thread and computes its part of a step; gradients, and the statistics of BatchNorm, are exchanged
by gloo, as among Ray Train's workers. Lipo's molecules, one network after the other, alone and shared in turn; an
epoch's seconds are those between two scores, the first left out. Needs as many idle cores as workers.
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
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from cluster.training.fit import Fit, FitSet
from cluster.training.group import ProcessGroup, shard_of
from cluster.training.loop import Training
from distill.data.moleculenet import load
from distill.data.splits import split
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import recipe
from tests.support.data import SHARED_DATA
from tests.support.machine import machine

NETWORKS = ("dmpnn", "gin", "gcn", "student-fingerprint")
MOLECULES = (64, 256, 1024)  # of a step
EPOCHS = 3
VALIDATED = 16  # which takes no time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="recipes")
    parser.add_argument("--molecules", type=int, nargs="+", default=MOLECULES, help="of a step")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not SHARED_DATA.is_dir():
        raise SystemExit(f"Lipo is not at {SHARED_DATA}.")
    rows = []
    print(f"{'network':24}{'of a step':>10}{'alone, /s':>12}{'shared, /s':>12}{'times':>8}")
    for row in measured(arguments.networks, arguments.molecules, arguments.workers, arguments.repeats):
        print(f"{row['network']:24}{row['molecules']:10}{row['alone']:12,}{row['shared']:12,}{row['times']:8.2f}")
        rows.append(row)
    if arguments.json:
        print(json.dumps({"workers": arguments.workers, "rows": rows, "machine": machine()}))


def measured(networks: Sequence[str], molecules: Sequence[int], workers: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield what each network and size of a step comes to."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = load("lipo", data_root=SHARED_DATA / "moleculenet")
        model_inputs, parts = ModelInputs(dataset, None, Path(folder)), split(dataset)
        for network in networks:
            batch = Batch(model_inputs)
            batch.add(recipe(network), parts, seed=0)
            for size in molecules:
                fits = _of_size(batch.fit_set, size)
                rates: dict[int, list[float]] = {1: [], workers: []}
                for _ in range(repeats):
                    for processes, found in rates.items():
                        found.append(_rate(fits, processes))
                alone, shared = median(rates[1]), median(rates[workers])
                yield {
                    "network": network,
                    "molecules": size,
                    "alone": round(alone),
                    "shared": round(shared),
                    "times": round(shared / alone, 2),
                }


def _of_size(fits: FitSet, size: int) -> FitSet:
    (fit,) = fits.fits
    schedule = replace(fit.schedule, epochs=EPOCHS, batch_size=size)
    return replace(fits, fits=[replace(fit, schedule=schedule, valid=fit.valid[:VALIDATED])])


def _rate(fits: FitSet, processes: int) -> float:
    """Return the molecules a second of a fit that so many processes share."""
    context = multiprocessing.get_context("spawn")
    told: Queue[list[float]] = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        others = [
            context.Process(target=_work, args=(fits, number, processes, Path(folder), told))
            for number in range(processes)
        ]
        for process in others:
            process.start()
        moments = told.get()
        for process in others:
            process.join()
    return len(fits.fits[0].train) / median(later - earlier for earlier, later in pairwise(moments))


def _work(fits: FitSet, number: int, processes: int, folder: Path, told: Queue[list[float]]) -> None:
    torch.set_num_threads(1)
    if processes > 1:
        meeting = f"file://{folder / 'meeting'}"
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=number, world_size=processes)
    group, moments = ProcessGroup(number, processes, "cpu"), list[float]()
    fit: Fit = replace(fits.fits[0], score=functools.partial(_noted, moments))
    Training(fit, shard_of([fit], fits.inputs, fits.columns, group), group, folder).run()
    if not number:
        told.put(moments)
    if processes > 1:
        torch.distributed.destroy_process_group()


def _noted(moments: list[float], truth: np.ndarray, prediction: np.ndarray) -> float:
    moments.append(time.perf_counter())
    return -float(np.square(truth - prediction).mean())


if __name__ == "__main__":
    main()
