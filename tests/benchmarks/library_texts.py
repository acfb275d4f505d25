"""What the annotations of a library bring a student that learns from it, beside those of other molecules.

    python -m tests.benchmarks.library_texts PREPARED --store STORE --data-root MOLECULENET [--dataset esol]
        [--seeds 5] [--epochs N] [--folder WORK] [--out RESULTS] [--json]

PREPARED is a library with annotations that `gallon embed` has embedded, and STORE has those of the data set by the same
model. A language teacher learns the labels and scores the library by what was written about its molecules; a student on
fingerprints learns from both. In the control each annotation of the library, and its embedding, belongs to another
molecule of the same shard. Beside them stand the student without the library, and without a teacher. Split and texts of
the data set are always the same; seeds are those of teacher and student.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gallon
from tests.benchmarks.alignment import show, shuffled_library
from tests.support.machine import machine

DEAF = {"soft_lm": 0.0, "hidden_lm": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--store", required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--dataset", default="esol")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="over the library; default: as gallon distill has it")
    parser.add_argument("--folder", type=Path, default=Path("library-texts"), help="where steps that are done are kept")
    parser.add_argument("--out", type=Path, help="folder for the result; default: none is written")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    library, shuffled = arguments.library, shuffled_library(arguments.library, arguments.folder / "shuffled")
    learning = {"library_epochs": arguments.epochs}
    ways: dict[str, dict[str, Any]] = {
        "no teacher": DEAF,
        "teacher": {},
        "library": {"library": library, **learning},
        "library, shuffled": {"library": shuffled, **learning},
    }
    found = [{"way": way, "valid": [], "test": []} for way in ways]
    with gallon.session():
        for seed in range(arguments.seeds):
            teachers = _taught(arguments, seed)
            for row, how in zip(found, ways.values(), strict=True):
                _add(row, _distilled(arguments, seed, str(row["way"]), teachers, how))
            show(found) if seed else None
    result = {"dataset": arguments.dataset, "epochs": arguments.epochs, "ways": found, "machine": machine()}
    if arguments.out:
        (arguments.out / "library_texts.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(result))


def _taught(arguments: argparse.Namespace, seed: int) -> Path:
    """Teach the language teacher, and return its folder."""
    (taught,) = gallon.teach(
        arguments.dataset,
        teacher="lm",
        seed=seed,
        data_root=arguments.data_root,
        store=arguments.store,
        out=arguments.folder / f"teachers-{seed}",
    )
    return Path(taught.path)


def _distilled(
    arguments: argparse.Namespace, seed: int, way: str, teacher: Path, how: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Distill a student in one of the ways, and return its card."""
    student = gallon.distill(
        arguments.dataset,
        teacher_folder=teacher,
        student_input="fingerprint",
        seed=seed,
        data_root=arguments.data_root,
        out=arguments.folder / f"{way.replace(', ', '-').replace(' ', '-')}-{seed}",
        overwrite=True,
        **how,
    )
    card: Mapping[str, Any] = json.loads((Path(student.path) / "card.json").read_text(encoding="utf-8"))
    return card


def _add(row: dict[str, Any], card: Mapping[str, Any]) -> None:
    """Write a student's errors, and how many molecules of the library it heard of, into the row of its way."""
    for part in ("valid", "test"):
        row[part].append(round(next(iter(card["metrics"][part].values())), 4))
    if card["transfer"]:
        row["molecules"] = card["transfer"]["molecules"]


if __name__ == "__main__":
    main()
