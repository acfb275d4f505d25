"""How fast a student screens a library, beside RDKit's parsing alone and beside `chemprop predict`.

    python -m tests.benchmarks.screening [--rows 50000] [--repeats 3] [--json]

Each goes from the SMILES file to its end, in processes of its own, alternating in one run; medians. Parsing has one
process a core and writes nothing. Students are asked by `gallon screen`, without Ray; what starting takes is measured
on a few rows and told apart. The processors' time is told beside the clock's: on a machine that others use, too, it is
the steadier of the two. Chemprop, where the command is on the PATH, is a network at its defaults; its workers are
processes that parse for it (`--num-workers`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, RDConfig

from cluster.library.rows import read_all
from cluster.library.source import resolve
from cluster.runtime.session import ray_session
from cluster.training.driver import TrainResources
from distill.data import inhibitors
from distill.data.dataset import Dataset
from distill.data.moleculenet import load
from distill.data.splits import split
from distill.evaluate.baselines.baseline import Examples
from distill.evaluate.baselines.chemprop_cli import COMMAND, chemprop_fit, chemprop_inputs
from distill.features.vectors import DescriptorSet
from distill.learn.distillation import Weights, distill_student
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import recipe
from distill.models.model_store import NGRAMS
from distill.screen.ngram_student import NGramStudent
from tests.support.data import SHARED_DATA
from tests.support.machine import machine

CORES = os.cpu_count() or 1
CHUNK = 5_000
FEW = 50  # rows, which take no time beside the start
SHOWN: tuple[DescriptorSet, ...] = ("lean", "estimated")
PREFILTER = "0.05"
CHEMPROP_SETTINGS = {"batch-size": 512, "accelerator": "cpu"}
CHEMPROP_EPOCHS = 3  # the least it takes, with its warm-up of two

Race = Callable[[Path], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = write_library(folder / "library.smi", arguments.rows)
        few = folder / "few.smi"
        few.write_text("\n".join(library.read_text().splitlines()[:FEW]) + "\n")
        racers, recall = _racers(folder, library)
        whole: dict[str, list[tuple[float, float]]] = {racer: [] for racer in racers}
        starts: dict[str, list[tuple[float, float]]] = {racer: [] for racer in racers}
        for repeat in range(arguments.repeats):
            for racer, race in racers.items():
                starts[racer].append(_timed(race, few))
                whole[racer].append(_timed(race, library))
                print(f"repeat {repeat}: {racer} {whole[racer][-1]}, start {starts[racer][-1]}", file=sys.stderr)
    rows = _rows(whole, starts, arguments.rows)
    print(f"{'':24}{'start, s':>10}{'molecules/s':>13}{'of parsing':>12}{'CPU, us':>10}{'of parsing':>12}")
    for racer, row in rows.items():
        print(
            f"{racer:24}{row['start_seconds']:10.1f}{row['molecules_per_second']:13,.0f}{row['rate_to_parsing']:12.2f}"
            f"{row['cpu_us']:10.0f}{row['cpu_rate_to_parsing']:12.2f}"
        )
    if arguments.json:
        print(json.dumps({"rows": arguments.rows, "racers": rows, "recall": recall, "machine": machine()}))


def _timed(race: Race, library: Path) -> tuple[float, float]:
    """Return what a race takes by the clock, and of the processors: seconds, those of its processes included."""
    began, before = time.perf_counter(), used()
    race(library)
    return round(time.perf_counter() - began, 2), round(used() - before, 2)


def used() -> float:
    """Return the processors' time of this process and of those that it has waited for, in seconds."""
    parts = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def _rows(
    whole: dict[str, list[tuple[float, float]]], starts: dict[str, list[tuple[float, float]]], rows: int
) -> dict[str, dict[str, Any]]:
    """Return of each racer its start, its rate behind it, and both beside parsing, whose start is told apart, too."""
    found: dict[str, dict[str, Any]] = {}
    for racer, times in whole.items():
        seconds, cpu = (statistics.median(each) for each in zip(*times, strict=True))
        start, start_cpu = (statistics.median(each) for each in zip(*starts[racer], strict=True))
        rate, cpu_rate = (rows - FEW) / max(seconds - start, 1e-9), (rows - FEW) / max(cpu - start_cpu, 1e-9)
        parsing = found.get("parsing", {"molecules_per_second": rate, "cpu_us": 1e6 / cpu_rate})
        found[racer] = {
            "start_seconds": round(start, 2),
            "start_cpu_seconds": round(start_cpu, 2),
            "molecules_per_second": round(rate),
            "with_start_per_second": round(rows / seconds),
            "cpu_us": round(1e6 / cpu_rate, 1),
            "rate_to_parsing": round(rate / parsing["molecules_per_second"], 3),
            "cpu_rate_to_parsing": round(parsing["cpu_us"] * cpu_rate / 1e6, 3),
            "seconds": times,
        }
    return found


def _racers(folder: Path, library: Path) -> tuple[dict[str, Race], dict[str, Any]]:
    """Return what is measured by its name, and what the n-gram student of the first one's finds again."""
    dataset = inhibitors_in(folder)
    racers: dict[str, Race] = {"parsing": _parse_all}
    with ray_session(None):
        students = {shown: trained_student(folder / shown, dataset, shown) for shown in SHOWN}
    for shown, student in students.items():
        racers[f"student, {shown}"] = _screening(student, folder / "scores.csv")
        racers[f"{shown}, --no-doubt"] = _screening(student, folder / "scores.csv", "--no-doubt")
    first = students[SHOWN[0]]
    prefiltering = _screening(first, folder / "scores.csv", "--prefilter", PREFILTER)
    prefiltering(library)  # which distills the n-gram student
    card = json.loads(_metadata(first / NGRAMS)["card"])
    racers["n-grams"] = _scoring_by_ngrams(NGramStudent.load(first / NGRAMS, card["model"]))
    racers[f"--prefilter {PREFILTER}"] = prefiltering
    if shutil.which(COMMAND):
        racers |= {f"chemprop, {workers} workers": _asking_chemprop(dataset, workers) for workers in (0, CORES)}
    else:
        print("There is no command chemprop on the PATH: it is left out.", file=sys.stderr)
    return racers, {key: card[key] for key in ("molecules", "held_out", "r2", "found_at")}


def _metadata(file: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(file, "numpy") as opened:
        facts: dict[str, str] = opened.metadata()
        return facts


def write_library(file: Path, rows: int) -> Path:
    """Write so many valid SMILES: of ChEMBL where the shared data is there, or else RDKit's, over and over."""
    chembl = SHARED_DATA / "library" / "chembl.smi.zst"
    path = str(chembl) if chembl.exists() else f"{RDConfig.RDDataDir}/NCI/first_5K.smi"

    def forever() -> Iterator[str]:
        while True:
            for block in read_all(resolve([path])):
                yield from (raw.decode().split()[0] for raw in block["raw"].to_pylist())

    file.write_text("\n".join(islice((smiles for smiles in forever() if Chem.MolFromSmiles(smiles)), rows)) + "\n")
    return file


def inhibitors_in(folder: Path) -> Dataset:
    """Return the sodium-channel inhibitors, which a folder gets as a table."""
    file = folder / "inhibitors.csv"
    inhibitors.write(file)
    return load(str(file), smiles_column=inhibitors.SMILES, targets=[inhibitors.ACTIVITY])


def trained_student(folder: Path, dataset: Dataset, descriptors: DescriptorSet) -> Path:
    """Return the folder of a student on fingerprints; needs Ray."""
    return distill_student(
        ModelInputs(dataset, None, folder / "inputs"),
        split(dataset, "random", seed=0),
        [],
        students=[replace(recipe("student-fingerprint"), descriptors=descriptors)],
        weights=Weights(),
        seed=0,
        folder=folder,
        resources=TrainResources(),
        teachers=[],
    ).path


def _screening(student: Path, out: Path, *options: str) -> Race:
    command = [sys.executable, "-m", "gallon", "screen", "--student", str(student), "--out", str(out), "--overwrite"]

    def race(library: Path) -> None:
        subprocess.run(
            [*command, *options, str(library)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    return race


def _scoring_by_ngrams(student: NGramStudent | None) -> Race:
    """Return what reads a library and scores all its rows, in this process."""
    assert student is not None

    def race(library: Path) -> None:
        for block in read_all(resolve([str(library)])):
            student.score(block["raw"].to_pylist())

    return race


def _parse_all(library: Path) -> int:
    smiles = library.read_text().splitlines()
    chunks = ["\n".join(smiles[start : start + CHUNK]) for start in range(0, len(smiles), CHUNK)]
    with ProcessPoolExecutor(CORES) as pool:
        return sum(pool.map(_parse, chunks))


def _parse(chunk: str) -> int:
    return sum(Chem.MolFromSmiles(smiles) is not None for smiles in chunk.splitlines())


def chemprop_asked(dataset: Dataset, workers: int) -> Callable[[Sequence[str]], object]:
    """Return what asks a network that has learnt for a moment about SMILES, with processes that parse for it."""
    parts, inputs = split(dataset, "random", seed=0), chemprop_inputs(dataset.mols())
    train, valid = (Examples(inputs[rows], dataset.labels[rows]) for rows in (parts.train, parts.valid))
    learnt = chemprop_fit(train, valid, kind=dataset.kind, settings={"epochs": CHEMPROP_EPOCHS}, seed=0)

    settings = {**CHEMPROP_SETTINGS, "num-workers": workers}
    return lambda smiles: learnt.predict(np.array(smiles, dtype=object), settings)


def _asking_chemprop(dataset: Dataset, workers: int) -> Race:
    ask = chemprop_asked(dataset, workers)
    return lambda library: ask(library.read_text().splitlines())


if __name__ == "__main__":
    main()
