"""Learning from a whole library: what each step costs a molecule, and how much memory every process takes.

    python -m tests.benchmarks.learn_million [--molecules N] [--epochs 5] [--folds 0] [--json] [--out FOLDER]

Rows drawn evenly from the library data are prepared; a D-MPNN learns ESOL; it scores the library; a student on
fingerprints is distilled on all of it for some epochs. Rates are molecules a second of CPU time of the processes that
do the work, their start included, since others may run beside it; those of the clock stand beside them. For a student,
molecules of the library in all epochs count. Memory is the resident set of each kind of process at its peak, shared
pages included.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import zstandard

import gallon
from cluster.library.rows import read_all
from cluster.library.source import resolve
from cluster.runtime.periodic import run_periodically
from tests.support.data import SHARED_DATA
from tests.support.machine import machine

RESULTS = Path(__file__).parent / "results"
ROWS = 966_463  # of the library data
SAMPLE_SECONDS = 1.0
MIB = 2**20
LEAST_SHOWN = 256 * MIB  # of what a process takes
PREPARE, SCORE, STUDENT = "preparing", "scoring the library", "students"
WORKERS = {PREPARE: ["write_shard"], SCORE: ["Scorer"], STUDENT: ["fits", "RayTrainWorker"]}  # as Ray names them
ESOL = {"data_root": SHARED_DATA / "moleculenet"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=ROWS, help="rows of the library data")
    parser.add_argument("--epochs", type=int, default=5, help="of the student, through the library")
    parser.add_argument("--folds", type=int, default=0, help="of the teacher")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="folder for the result; default: none is written")
    arguments = parser.parse_args()
    if not SHARED_DATA.is_dir():
        raise SystemExit(f"The library data are not at {SHARED_DATA}.")
    with tempfile.TemporaryDirectory() as name:
        result = {**measured(Path(name), arguments.molecules, arguments.epochs, arguments.folds), "machine": machine()}
    show(result)
    if arguments.out:
        file = arguments.out / f"learn_million-{arguments.molecules}.json"
        file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(result))


def measured(folder: Path, rows: int, epochs: int, folds: int) -> dict[str, Any]:
    """Do all steps, and return what they took."""
    library, prepared = folder / "library.smi.zst", folder / "prepared"
    write_library(library, rows)
    watch = Watch()
    with gallon.session(), run_periodically(SAMPLE_SECONDS, watch.sample, "memory"):
        manifest = gallon.prepare(library, out=prepared, progress=watch).manifest
        gallon.teach("esol", teacher="dmpnn", folds=folds, out=folder / "models", progress=watch, **ESOL)
        student = gallon.distill(
            "esol",
            library=prepared,
            library_epochs=epochs,
            student_input="fingerprint",
            out=folder / "models",
            progress=watch,
            **ESOL,
        )
    learned = json.loads((student.path / "card.json").read_text(encoding="utf-8"))["transfer"]["molecules"]
    scores = sum(file.stat().st_size for file in (prepared / "scores").rglob("*.safetensors"))
    molecules = {PREPARE: rows, SCORE: learned, STUDENT: learned * epochs}
    return {
        "rows": rows,
        "molecules": manifest.molecules,
        "learned_from": learned,
        "epochs": epochs,
        "molecules_per_cpu_second": {step: round(molecules[step] / watch.cpu[step]) for step in molecules},
        "molecules_per_second": {step: round(molecules[step] / watch.seconds[step]) for step in molecules},
        "student_seconds": student.seconds,
        "bytes_per_molecule": {
            "library": round(manifest.bytes / manifest.molecules),
            "scores": round(scores / learned),
        },
        "student_molecules_per_second": round(molecules[STUDENT] / student.seconds),
        "peak_mib": {name: round(peak / MIB) for name, peak in sorted(watch.peaks.items()) if peak > LEAST_SHOWN},
        "rmse": {part: round(values["rmse"], 3) for part, values in student.metrics.items()},
    }


@dataclass
class Watch:
    """What the processes of this machine's Ray and this one took: memory at its peak, CPU and time of each phase."""

    peaks: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    seconds: dict[str, float] = field(default_factory=dict)
    _phase: str = ""
    _begun: float = 0.0
    _known: dict[int, float] = field(default_factory=dict)

    def __call__(self, progress: gallon.Progress) -> None:
        """Note the phase."""
        if progress.phase != self._phase:
            self._phase, self._begun = progress.phase, time.monotonic()
        if progress.ended:
            self.sample()
            self.seconds[progress.phase] = time.monotonic() - self._begun

    def sample(self) -> None:
        """Look at every process."""
        here = psutil.Process()
        for process in [here, *here.children(recursive=True)]:
            try:
                kind = "driver" if process == here else _kind(process)
                memory, times = process.memory_info().rss, process.cpu_times()
            except psutil.Error:
                continue
            self.peaks[kind] = max(self.peaks[kind], memory)
            used = times.user + times.system
            more = used - self._known.get(process.pid, 0.0)
            self._known[process.pid] = used
            if kind.removeprefix("ray::") in WORKERS.get(self._phase, ()):
                self.cpu[self._phase] += more


def _kind(process: psutil.Process) -> str:
    """Return what a process of Ray does, without its number."""
    title = (process.cmdline() or [process.name()])[0]
    return title.split("(")[0].split(".")[0].strip() if title.startswith("ray::") else process.name()


def write_library(path: Path, rows: int) -> None:
    """Write so many rows of the library data, taken evenly from all of it, in its order."""
    with zstandard.open(path, "wb") as library:
        library.write(b"".join(islice(_evenly(rows), rows)))


def _evenly(rows: int) -> Iterator[bytes]:
    sources = resolve([str(SHARED_DATA / "library" / "*.smi.zst")])
    place = 0
    for block in read_all(sources):
        for raw in block["raw"].to_pylist():
            if place * rows // ROWS != (place - 1) * rows // ROWS:
                yield raw + b"\n"
            place += 1


def show(result: dict[str, Any]) -> None:
    """Print what was measured as a table."""
    print(f"{result['rows']:,} rows, {result['molecules']:,} molecules, {result['epochs']} epochs")
    for step, rate in result["molecules_per_cpu_second"].items():
        print(f"{step:24} {rate:8,}/s of CPU {result['molecules_per_second'][step]:8,}/s by the clock")
    print(f"{'student, without its start':24} {result['student_molecules_per_second']:28,}/s by the clock")
    for name, size in result["bytes_per_molecule"].items():
        print(f"{name:24} {size:8,} bytes a molecule")
    for name, peak in result["peak_mib"].items():
        print(f"{name:40} {peak:8,} MiB at its peak")
    print("RMSE: " + ", ".join(f"{part} {value}" for part, value in result["rmse"].items()))


if __name__ == "__main__":
    main()
