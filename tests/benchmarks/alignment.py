"""What the alignment with annotations brings a graph teacher, beside that with texts of other molecules.

    python -m tests.benchmarks.alignment PREPARED --data-root MOLECULENET [--dataset esol] [--teacher dmpnn]
        [--epochs 30] [--seeds 3] [--folder WORK] [--out RESULTS] [--json]

PREPARED is a library with annotations that `gallon embed` has embedded. The network is pre-trained on it in several
ways, without the molecules of the data set, and a teacher begins with each of them and learns the labels. In the
control each annotation, and its embedding, belongs to another molecule of the same shard. The network is pre-trained
once in each way; seeds are those of the teachers.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gallon
from distill.library.beside.embeddings import ShardTexts, TextSet, read_texts, write_texts
from distill.library.prepared import PreparedLibrary
from distill.library.shard import read_facts
from tests.support.machine import machine

NOTHING = {"descriptor_weight": 0.0, "field_weight": 0.0, "embedding_weight": 0.0}
WAYS: dict[str, dict[str, float] | None] = {
    "none": None,
    "alignment": {**NOTHING, "alignment_weight": 1.0},
    "alignment, shuffled": {**NOTHING, "alignment_weight": 1.0},
    "descriptors": {**NOTHING, "descriptor_weight": 1.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--dataset", default="esol")
    parser.add_argument("--teacher", default="dmpnn")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("alignment"), help="where steps that are done are kept")
    parser.add_argument("--out", type=Path, help="folder for the result; default: none is written")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    shuffled = shuffled_library(arguments.library, arguments.folder / "shuffled")
    found = []
    with gallon.session():
        for way, weights in WAYS.items():
            library = shuffled if "shuffled" in way else arguments.library
            found.append({"way": way, **_measured(arguments, library, way, weights)})
            show(found[-1:])
    print()
    show(found)
    facts = {"dataset": arguments.dataset, "teacher": arguments.teacher, "epochs": arguments.epochs}
    result = {**facts, "ways": found, "machine": machine()}
    if arguments.out:
        (arguments.out / "alignment.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(result))


def shuffled_library(library: Path, folder: Path) -> Path:
    """Write a library in which each annotation belongs to another molecule of its shard, and return its folder."""
    if not folder.exists():
        shutil.copytree(library, folder)
    prepared, texts, there = PreparedLibrary.open(folder), TextSet.find(library), TextSet.find(folder)
    assert texts and there
    for number in range(len(prepared)):
        facts = read_facts(prepared.shard(number))
        if facts and (said := read_texts(texts, number, facts.digest)):
            order = np.random.default_rng(number).permutation(len(said.rows))
            told = [said.texts[place] for place in order.tolist()]
            mixed = ShardTexts(said.rows, told, said.agreement[order], said.vectors[order])
            write_texts(mixed, there, number, facts.digest)
    return folder


def _measured(
    arguments: argparse.Namespace, library: Path, way: str, weights: dict[str, float] | None
) -> dict[str, Any]:
    folder, start, found = arguments.folder / way.replace(" ", "-"), None, {}
    if weights:
        without = (str(arguments.data_root / f"{arguments.dataset}.csv"),)
        start = folder / "pretrained"
        learning = {"teacher": arguments.teacher, "epochs": arguments.epochs, "without": without, **weights}
        card = gallon.pretrain(library, out=start, **learning).card
        found = {"molecules": card.molecules, "explained": dict(card.explained), "retrieved": dict(card.retrieved)}
    scores: dict[str, list[float]] = {"valid": [], "test": []}
    for seed in range(arguments.seeds):
        (taught,) = gallon.teach(
            arguments.dataset,
            teacher=arguments.teacher,
            folds=0,
            start=start,
            seed=seed,
            data_root=arguments.data_root,
            out=folder / f"models-{seed}",
        )
        for part, values in scores.items():
            values.append(round(next(iter(taught.metrics[part].values())), 4))
    return {**found, **scores}


def show(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        cells = [f"{part} {np.mean(row[part]):.3f} ± {np.std(row[part], ddof=1):.3f}" for part in ("valid", "test")]
        retrieved = {name: round(value, 3) for name, value in row.get("retrieved", {}).items()}
        print(row["way"].ljust(22), *(cell.ljust(24) for cell in cells), retrieved or "")


if __name__ == "__main__":
    main()
