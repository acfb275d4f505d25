"""What learning from a library brings a student, by how many of its molecules it learns from.

    python -m tests.benchmarks.library_size PREPARED --data-root MOLECULENET [--sets lipo,esol,bbbp]
        [--teachers minimol] [--sizes 5000,20000,100000] [--seeds 5] [--folder WORK] [--out RESULTS] [--json]

PREPARED is a library that `gallon prepare` has described. Of each set, in DeepChem's scaffold split, the teachers learn
the labels and score molecules of the library, drawn at random; a student on fingerprints learns from labels and from
what they say. Beside the sizes stand the student without a teacher, the student whose teachers speak of the labelled
molecules alone, and the teachers. Seeds are those of teachers, draws and students; all settings are the defaults, so
that nothing is chosen by these numbers. Vectors, scores and fits that are done stay where they are, and the same
command goes on where it was stopped; --out puts the rows into RESULTS/library_size.json, in the place of those of the
same set and teachers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gallon
from tests.benchmarks.alignment import show
from tests.support.machine import machine

DEAF = {"soft_gnn": 0.0, "hidden_gnn": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--data-root", type=Path, required=True, help="folder of MoleculeNet's files")
    parser.add_argument("--sets", default="lipo,esol,bbbp")
    parser.add_argument("--teachers", default="minimol", help="graph teachers, separated by commas")
    parser.add_argument("--sizes", default="5000,20000,100000", help="molecules of the library")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("library-size"), help="where steps that are done are kept")
    parser.add_argument("--out", type=Path, help="folder for the result; default: none is written")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    teachers = arguments.teachers.split(",")
    for name in arguments.sets.split(","):
        with gallon.session():
            rows = list(measured(arguments, name, teachers))
        print(name, "taught by", *teachers)
        show(rows) if arguments.seeds > 1 else print(rows)
        if arguments.out:
            keep(arguments.out / "library_size.json", name, teachers, rows)
        if arguments.json:
            print(json.dumps({"set": name, "teachers": teachers, "rows": rows}), flush=True)


def measured(arguments: argparse.Namespace, name: str, teachers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the scores of each teacher and of each way to learn, with a number for each seed."""
    sizes = [int(size) for size in arguments.sizes.split(",")]
    ways: dict[str, dict[str, Any]] = {
        "no teacher": DEAF,
        "no library": {},
        **{f"{size:,}": {"library": arguments.library, "library_molecules": size} for size in sizes},
    }
    found: dict[str, list[Mapping[str, Any]]] = {way: [] for way in [*teachers, *ways]}
    for seed in range(arguments.seeds):
        folder = arguments.folder / name / str(seed)
        taught = gallon.teach(name, teacher=teachers, seed=seed, data_root=arguments.data_root, out=folder / "teachers")
        for each in taught:
            found[Path(each.path).name].append(_card(each.path))
        for way, how in ways.items():
            student = gallon.distill(
                name,
                teacher_folder=[Path(each.path) for each in taught],
                student_input="fingerprint",
                seed=seed,
                data_root=arguments.data_root,
                out=folder / way.replace(" ", "-"),
                **how,
            )
            found[way].append(_card(student.path))
    for way, cards in found.items():
        scores = {part: [_score(card, part) for card in cards] for part in ("valid", "test")}
        yield {"way": way, **scores, "metric": next(iter(cards[0]["metrics"]["test"]))}


def keep(file: Path, name: str, teachers: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Put the rows of a set and its teachers beside those of others."""
    what = {"set": name, "teachers": list(teachers)}
    known = json.loads(file.read_text(encoding="utf-8"))["results"] if file.is_file() else []
    others = [each for each in known if {"set": each["set"], "teachers": each["teachers"]} != what]
    results = [*others, {**what, "rows": rows, "machine": machine()}]
    file.write_text(json.dumps({"results": results}, indent=1) + "\n", encoding="utf-8")


def _card(folder: str | Path) -> Mapping[str, Any]:
    card: Mapping[str, Any] = json.loads((Path(folder) / "card.json").read_text(encoding="utf-8"))
    return card


def _score(card: Mapping[str, Any], part: str) -> float:
    return round(float(next(iter(card["metrics"][part].values()))), 4)


if __name__ == "__main__":
    main()
