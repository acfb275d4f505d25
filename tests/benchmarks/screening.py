"""How fast a student scores a library, beside RDKit's parsing alone and beside `chemprop predict`.

    python -m tests.benchmarks.screening [--rows 50000] [--repeats 3] [--json]

Each is measured from the SMILES file to its end, alternating in one run; rates are medians. Parsing has one process a
core and writes nothing. Students are measured in a cluster that is up, with the start of their workers. Chemprop, where
the command is on the PATH, is a network at its defaults, timed with its start. No network here has learnt much: how
long a prediction takes does not depend on it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from rdkit import Chem, RDConfig

from cluster.library.rows import read_all
from cluster.library.source import Source, resolve
from cluster.runtime.session import RaySession, ray_session
from cluster.training.driver import TrainResources
from distill.data import inhibitors
from distill.data.dataset import Dataset
from distill.data.moleculenet import load
from distill.data.splits import split
from distill.evaluate.baseline import Examples
from distill.evaluate.chemprop_cli import COMMAND, chemprop_fit, chemprop_inputs
from distill.features.vectors import DescriptorSet
from distill.learn.distillation import Weights, distill_student
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import recipe
from distill.screen.screening import screen
from tests.support.data import SHARED_DATA
from tests.support.machine import machine

CORES = os.cpu_count() or 1
CHUNK = 5_000
SHOWN: tuple[DescriptorSet, ...] = ("lean", "estimated")
CHEMPROP_SETTINGS = {"batch-size": 512, "accelerator": "cpu"}
CHEMPROP_EPOCHS = 3  # the least it takes, with its warm-up of two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ray_session(None) as session:
        folder = Path(name)
        library = _library(folder / "library.smi", arguments.rows)
        racers = _racers(folder, library, session)
        seconds: dict[str, list[float]] = {racer: [] for racer in racers}
        for repeat in range(arguments.repeats):
            for racer, (_, race) in racers.items():
                began = time.perf_counter()
                race()
                seconds[racer].append(time.perf_counter() - began)
                print(f"repeat {repeat}: {racer} {seconds[racer][-1]:.1f} s", file=sys.stderr)
    rates = {racer: rows / statistics.median(seconds[racer]) for racer, (rows, _) in racers.items()}
    for racer, rate in rates.items():
        print(f"{racer:24} {rate:10,.0f} molecules/s")
    if arguments.json:
        result = {
            "molecules_per_second": {racer: round(rate) for racer, rate in rates.items()},
            "rows": {racer: rows for racer, (rows, _) in racers.items()},
            "seconds": {racer: [round(took, 2) for took in its] for racer, its in seconds.items()},
            "student_to_parsing": {kind: round(rates[f"student, {kind}"] / rates["parsing"], 3) for kind in SHOWN},
            "student_to_chemprop": {kind: _ratio(rates, f"student, {kind}", "chemprop") for kind in SHOWN},
            "machine": machine(),
        }
        print(json.dumps(result))


def _racers(folder: Path, library: Path, session: RaySession) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return what is measured: by its name, how many rows it goes through, and what goes through them."""
    smiles = library.read_text().splitlines()
    chunks = ["\n".join(smiles[start : start + CHUNK]) for start in range(0, len(smiles), CHUNK)]
    dataset = _dataset(folder)
    sources = resolve([str(library)])
    racers: dict[str, tuple[int, Callable[[], object]]] = {"parsing": (len(smiles), lambda: _parse_all(chunks))}
    for descriptors in SHOWN:
        student = _student(folder / descriptors, dataset, descriptors)
        racers[f"student, {descriptors}"] = len(smiles), _screening(sources, student, folder, session)
    if shutil.which(COMMAND):
        racers["chemprop"] = len(smiles), _chemprop(dataset, smiles)
    else:
        print("There is no command chemprop on the PATH: it is left out.", file=sys.stderr)
    return racers


def _library(file: Path, rows: int) -> Path:
    """Write so many valid SMILES: of PubChem where the shared data is there, or else RDKit's, over and over."""
    pubchem = SHARED_DATA / "library" / "pubchem.smi.zst"
    path = str(pubchem) if pubchem.exists() else f"{RDConfig.RDDataDir}/NCI/first_5K.smi"

    def forever() -> Iterator[str]:
        while True:
            for block in read_all(resolve([path])):
                yield from (raw.decode().split()[0] for raw in block["raw"].to_pylist())

    file.write_text("\n".join(islice((smiles for smiles in forever() if Chem.MolFromSmiles(smiles)), rows)) + "\n")
    return file


def _dataset(folder: Path) -> Dataset:
    file = folder / "inhibitors.csv"
    inhibitors.write(file)
    return load(str(file), smiles_column=inhibitors.SMILES, targets=[inhibitors.ACTIVITY])


def _student(folder: Path, dataset: Dataset, descriptors: DescriptorSet) -> Path:
    known = recipe("student-fingerprint")
    brief = replace(known, descriptors=descriptors, schedule=replace(known.schedule, epochs=2))
    return distill_student(
        ModelInputs(dataset, None, folder / "inputs"),
        split(dataset, "random", seed=0),
        [],
        students=[brief],
        weights=Weights(),
        seed=0,
        folder=folder,
        resources=TrainResources(),
        teachers=[],
    ).path


def _screening(sources: list[Source], student: Path, folder: Path, session: RaySession) -> Callable[[], object]:
    return lambda: screen(sources, student, folder / "scores.csv", limit=None, session=session)


def _parse_all(chunks: list[str]) -> int:
    with ProcessPoolExecutor(CORES) as pool:
        return sum(pool.map(_parse, chunks))


def _parse(chunk: str) -> int:
    return sum(Chem.MolFromSmiles(smiles) is not None for smiles in chunk.splitlines())


def _chemprop(dataset: Dataset, smiles: list[str]) -> Callable[[], object]:
    """Return what asks a network that has learnt for a moment."""
    parts, inputs = split(dataset, "random", seed=0), chemprop_inputs(dataset.mols())
    train, valid = (Examples(inputs[rows], dataset.labels[rows]) for rows in (parts.train, parts.valid))
    learnt = chemprop_fit(train, valid, kind=dataset.kind, settings={"epochs": CHEMPROP_EPOCHS}, seed=0)
    asked = np.array(smiles, dtype=object)
    return lambda: learnt.predict(asked, CHEMPROP_SETTINGS)


def _ratio(rates: dict[str, float], one: str, other: str) -> float | None:
    return round(rates[one] / rates[other], 2) if other in rates else None


if __name__ == "__main__":
    main()
