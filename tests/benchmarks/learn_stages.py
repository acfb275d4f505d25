"""What each stage of learning from a library costs a molecule: on one core, in one process, without Ray.

    python -m tests.benchmarks.learn_stages [--molecules 8192] [--epochs 3] [--json] [--out FOLDER]

The stages do exactly what the workers of `gallon prepare` and `gallon distill --library` do: describe rows and write
shards, score them by a D-MPNN, and train a student on fingerprints for some epochs, beside the molecules of ESOL. The
networks have random weights: how long they take does not depend on them. CPU time counts; how far memory grows from the
first half of a stage to its end tells whether it is flat.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from cluster.library.rows import read_all
from cluster.library.source import resolve
from cluster.training.fit import Fit, Schedule
from cluster.training.group import ProcessGroup, shard_of
from cluster.training.loop import Training
from distill.data.moleculenet import load
from distill.data.splits import split
from distill.learn.inputs import ModelInputs
from distill.learn.network import settings_for
from distill.learn.objective import NetworkWithLoss, Objective, Scale
from distill.learn.recipes import recipe
from distill.library.beside.scores import Scorer
from distill.library.manifest import shard_name
from distill.library.prepare import finish, plan_of
from distill.library.prepared import PreparedLibrary, Selection
from distill.library.shard import write_shard
from distill.library.stream import LibraryStream, Statements
from tests.benchmarks.learn_million import write_library
from tests.support.data import SHARED_DATA
from tests.support.machine import machine
from tests.support.models import untrained_student

MIB = 2**20
BATCH, SHARE = 256, 0.25
WARM = 64  # rows


class Stages:
    """What each stage took: molecules a second of CPU, and memory at half of it and at its end."""

    def __init__(self) -> None:
        self.rates: dict[str, int] = {}
        self.mib: dict[str, list[int]] = {}

    @contextmanager
    def measure(self, name: str, molecules: int) -> Iterator[Callable[[], None]]:
        """Measure a stage; what is yielded is called in its course."""
        seen: list[int] = []
        begun = time.process_time()
        yield lambda: seen.append(psutil.Process().memory_info().rss // MIB)
        self.rates[name] = round(molecules / (time.process_time() - begun))
        self.mib[name] = [seen[len(seen) // 2], max(seen)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="folder for the result; default: none is written")
    arguments = parser.parse_args()
    if not SHARED_DATA.is_dir():
        raise SystemExit(f"The library data are not at {SHARED_DATA}.")
    torch.set_num_threads(1)
    stages = Stages()
    with tempfile.TemporaryDirectory() as name:
        sizes = walk(Path(name), arguments.molecules, arguments.epochs, stages)
    result = {
        "molecules": arguments.molecules,
        "epochs": arguments.epochs,
        "molecules_per_cpu_second": stages.rates,
        "mib_at_half_and_at_most": stages.mib,
        "bytes_per_molecule": sizes,
        "machine": machine(),
    }
    for stage, rate in stages.rates.items():
        half, most = stages.mib[stage]
        print(f"{stage:10} {rate:8,}/s of CPU  {half:6,} MiB at half, {most:6,} MiB at most")
    print(f"{sizes['library']:,} bytes a molecule, {sizes['scores']:,} of scores")
    if arguments.out:
        (arguments.out / "learn_stages.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(result))


def walk(folder: Path, molecules: int, epochs: int, stages: Stages) -> dict[str, int]:
    """Do all stages; return the bytes that a molecule takes."""
    library = prepared(folder, molecules, stages)
    selection = library.select([], None, seed=0)
    teacher, scores = untrained_student(folder / "teacher", "dmpnn"), folder / "scores"
    scores.mkdir()
    scorer = Scorer(teacher, library.folder, scores)
    with stages.measure("score", len(selection)) as look:
        for number, rows in enumerate(selection.rows):
            scorer.score(number, rows.astype(np.int64))
            look()
    distill(folder, library, selection, scores, epochs, stages)
    return {
        "library": round(library.manifest.bytes / library.manifest.molecules),
        "scores": round(sum(file.stat().st_size for file in scores.iterdir()) / len(selection)),
    }


def prepared(folder: Path, molecules: int, stages: Stages) -> PreparedLibrary:
    """Describe rows of the library data."""
    write_library(folder / "library.smi.zst", molecules)
    sources, place = resolve([str(folder / "library.smi.zst")]), folder / "prepared"
    place.mkdir()
    facts = []
    write_shard(next(read_all(sources, WARM)), "lean", folder / "warm.arrow")  # which imports what is needed
    with stages.measure("prepare", molecules) as look:
        for number, block in enumerate(read_all(sources)):
            facts.append(write_shard(block, "lean", place / shard_name(number)))
            look()
    finish(facts, plan_of(sources, "lean", None), sources, place)
    return PreparedLibrary.open(place)


def distill(
    folder: Path, library: PreparedLibrary, selection: Selection, scores: Path, epochs: int, stages: Stages
) -> None:
    """Train a student on the stream, beside ESOL."""
    dataset = load("esol", data_root=SHARED_DATA / "moleculenet")
    inputs, parts, known = ModelInputs(dataset, None, folder / "inputs"), split(dataset), recipe("student-fingerprint")
    name, held = inputs.inputs(known, parts)
    network = functools.partial(known.build, 1, **settings_for(known, held, ""))
    said = Statements(dataset.kind, [scores], ["gnn"], {}, {"labels": 1, "soft.gnn": 1}, {})
    unsaid = np.full_like(dataset.labels, np.nan)
    with stages.measure("student", len(selection) * epochs) as look:
        fit = Fit(
            id="student",
            name="student",
            build=functools.partial(
                NetworkWithLoss, network, Scale.of(dataset.labels, dataset.targets), Objective(soft={"gnn": 1.0}), {}
            ),
            inputs=name,
            targets={"labels": "labels", "soft.gnn": "soft"},
            train=parts.train,
            valid=parts.valid,
            score=functools.partial(_looked, look),
            schedule=Schedule(epochs=epochs, batch_size=BATCH),
            stream=LibraryStream(library, selection, said, inputs.scaler(known, parts)),
            labelled_share=SHARE,
        )
        alone = ProcessGroup(0, 1, "cpu")
        part = shard_of([fit], {name: held}, {"labels": dataset.labels, "soft": unsaid}, alone)
        Training(fit, part, alone, folder).run()


def _looked(look: Callable[[], None], truth: Any, prediction: Any) -> float:
    """Score an epoch, and look at the memory."""
    look()
    return -float(np.square(truth - prediction).mean())


if __name__ == "__main__":
    main()
