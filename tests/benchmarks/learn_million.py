"""Learning from a whole library: what each step costs a molecule, and how much memory every process takes.

    python -m tests.benchmarks.learn_million [--molecules N ...] [--epochs 5] [--until STEP] [--json] [--out FOLDER]
        [--folder FOLDER]

Rows drawn evenly from the library data are prepared; a D-MPNN is pre-trained on them and then learns ESOL; it scores
the library; a student on fingerprints is distilled on all of it for some epochs. Several numbers are measured one after
the other, and memory is shown side by side. Steps that are done are kept in the folder, so that the same command goes
on where it was stopped; a step that was stopped goes on, too, and is named, since its rate is of what was left.

Rates are molecules a second of CPU time of the processes that do the work, their start included, since others may run
beside it; those of the clock stand beside them. For a network, molecules of the library in all epochs count.

Memory is that of the largest process of each kind: its own, and beside it the pages that it shares with others
(`tests.support.memory`). A plot beside the result has each kind's own memory over time, in a panel for each step, all
numbers of molecules over one another.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import zstandard

import gallon
from cluster.library.rows import read_all
from cluster.library.source import resolve
from cluster.runtime.periodic import run_periodically
from teacher.files import replacing
from tests.support.data import SHARED_DATA
from tests.support.machine import machine
from tests.support.memory import Curve, Memory, draw

RESULTS = Path(__file__).parent / "results"
FOLDER = Path("~/.cache/gallon-benchmarks/learn_million")
ROWS = 966_463  # of the library data
SAMPLE_SECONDS = 1.0
MIB = 2**20
LEAST_SHOWN = 128 * MIB  # of what is a process's own; those of Ray's dashboard have 70 each
MOMENTS = 200  # of a curve, at most
IDLE = "ray::IDLE"  # what a worker is called between two tasks
STEPS = ("prepare", "pretrain", "teach", "distill")
PREPARE, PRETRAIN, SCORE, STUDENT = "preparing", "pre-training", "scoring the library", "students"
TRAINERS = ["fits", "RayTrainWorker"]
WORKERS = {PREPARE: ["write_shard"], PRETRAIN: TRAINERS, SCORE: ["Scorer"], STUDENT: TRAINERS}  # as Ray names them
ESOL = {"data_root": SHARED_DATA / "moleculenet"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, nargs="+", default=[ROWS], help="rows of the library data")
    parser.add_argument("--pretraining-epochs", type=int, default=2, help="of the D-MPNN, through the library")
    parser.add_argument("--epochs", type=int, default=5, help="of the student, likewise")
    parser.add_argument("--until", choices=STEPS, default=STEPS[-1], help="the last step")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="folder for the result and the plot; default: none is written")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where steps that are done are kept")
    arguments = parser.parse_args()
    if not SHARED_DATA.is_dir():
        raise SystemExit(f"The library data are not at {SHARED_DATA}.")
    epochs = arguments.pretraining_epochs, arguments.epochs
    measured, memory = [], {}
    for rows in arguments.molecules:
        folder = arguments.folder.expanduser() / f"{rows}-{epochs[0]}-{epochs[1]}"
        steps = Steps(folder, rows, *epochs, until=arguments.until)
        measured.append(steps.done())
        memory[rows] = steps.memory()
        show(measured[-1])
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
            result = {"sizes": measured, "machine": machine()}
            (arguments.out / "learn_million.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            panels = {step: curves for step in STEPS if (curves := curves_of(memory, step))}
            draw(panels, arguments.out / "learn_million.png", time="share of the time", memory="own memory, MiB")
    if len(measured) > 1:
        show_memory(measured)
    if arguments.json:
        print(json.dumps({"sizes": measured, "machine": machine()}))


@dataclass
class Steps:
    """The steps on so many rows, and a folder in which each is kept when it is done.

    Attributes:
        folder: of everything.
        rows: of the library data.
        pretraining_epochs: of the D-MPNN.
        epochs: of the student.
        until: the last step.
    """

    folder: Path
    rows: int
    pretraining_epochs: int
    epochs: int
    until: str = STEPS[-1]

    def done(self) -> dict[str, Any]:
        """Do what is not done yet, and return what all steps took."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (library := self.folder / "library.smi.zst").is_file():
            write_library(library, self.rows)
        found = {name: self._kept(name) for name in STEPS[: STEPS.index(self.until) + 1]}
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
            for name, took in found.items():
                found[name] = took or alone.submit(self._measured, name).result()
        facts: dict[str, Any] = {"rows": self.rows, "epochs": [self.pretraining_epochs, self.epochs]}
        kept = {name: {**took} for name, took in found.items() if took}
        facts["resumed"] = [name for name, took in kept.items() if took.pop("resumed")]
        for took in kept.values():
            for name, value in took.items():
                facts[name] = {**facts.get(name, {}), **value} if isinstance(value, dict) else value
        return facts

    def memory(self) -> dict[str, dict[str, list[tuple[float, int]]]]:
        """Return of each step that is done the own memory of each kind of process, over the time that it took."""
        kept = {name: self.folder / f"{name}.memory.json" for name in STEPS}
        return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in kept.items() if file.is_file()}

    def _kept(self, name: str) -> dict[str, Any] | None:
        file = self.folder / f"{name}.json"
        found: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        return found

    def _measured(self, name: str) -> dict[str, Any]:
        """Do a step, and keep what it took; in a process of its own, whose memory holds nothing of the step before."""
        step: Callable[[Watch], dict[str, Any]] = getattr(self, f"_{name}")
        begun, watch = self.folder / f"{name}.begun", Watch()
        resumed = begun.exists()
        begun.touch()
        with gallon.session(), run_periodically(SAMPLE_SECONDS, watch.sample, "memory"):
            facts = step(watch)
        facts = {**facts, "peak_mib": {name: watch.peaks()}, "resumed": resumed}
        (self.folder / f"{name}.memory.json").write_text(json.dumps(watch.curves()), encoding="utf-8")
        (self.folder / f"{name}.json").write_text(json.dumps(facts), encoding="utf-8")
        return facts

    def _prepare(self, watch: Watch) -> dict[str, Any]:
        library = self.folder / "library.smi.zst"
        manifest = gallon.prepare(library, out=self.folder / "prepared", progress=watch).manifest
        size = round(manifest.bytes / manifest.molecules)
        return {
            "molecules": manifest.molecules,
            "bytes_per_molecule": {"library": size},
            **watch.rates({PREPARE: self.rows}),
        }

    def _pretrain(self, watch: Watch) -> dict[str, Any]:
        card = gallon.pretrain(
            self.folder / "prepared",
            teacher="dmpnn",
            out=self.folder / "pretrained",
            epochs=self.pretraining_epochs,
            progress=watch,
        ).card
        explained = {name: round(share, 4) for name, share in card.explained.items()}
        seen = card.molecules * card.epochs
        rate = {"pre-training, without its start": round(seen / card.seconds)}
        return {"explained": explained, "of_the_clock": rate, **watch.rates({PRETRAIN: seen})}

    def _teach(self, watch: Watch) -> dict[str, Any]:
        models, start = self.folder / "models", self.folder / "pretrained"
        (teacher,) = gallon.teach("esol", teacher="dmpnn", folds=0, start=start, out=models, progress=watch, **ESOL)
        return {"rmse": {"teacher": _rmse(teacher.metrics)}}

    def _distill(self, watch: Watch) -> dict[str, Any]:
        prepared = self.folder / "prepared"
        student = gallon.distill(
            "esol",
            library=prepared,
            library_epochs=self.epochs,
            student_input="fingerprint",
            out=self.folder / "models",
            progress=watch,
            **ESOL,
        )
        learned = json.loads((student.path / "card.json").read_text(encoding="utf-8"))["transfer"]["molecules"]
        scores = sum(file.stat().st_size for file in (prepared / "scores").rglob("*.safetensors"))
        rate = {"students, without its start": round(learned * self.epochs / student.seconds)}
        return {
            "learned_from": learned,
            "bytes_per_molecule": {"scores": round(scores / learned)},
            "rmse": {"student": _rmse(student.metrics)},
            "of_the_clock": rate,
            **watch.rates({SCORE: learned, STUDENT: learned * self.epochs}),
        }


def _rmse(metrics: Any) -> dict[str, float]:
    return {part: round(values["rmse"], 3) for part, values in metrics.items()}


@dataclass
class Watch:
    """What the processes of this machine's Ray and this one took: memory over time, CPU and time of each phase."""

    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    seconds: dict[str, float] = field(default_factory=dict)
    _memory: dict[str, list[tuple[float, Memory]]] = field(default_factory=lambda: defaultdict(list))
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

    def rates(self, molecules: dict[str, int]) -> dict[str, Any]:
        """Return molecules a second of CPU, and by the clock, for phases that took so many."""
        return {
            "molecules_per_cpu_second": {
                phase: round(number / self.cpu[phase]) for phase, number in molecules.items() if self.cpu[phase]
            },
            "molecules_per_second": {  # of what had been done before a step was stopped, nothing is known
                phase: round(number / self.seconds[phase]) for phase, number in molecules.items() if self.cpu[phase]
            },
        }

    def sample(self) -> None:
        """Look at every process."""
        here, now = psutil.Process(), time.monotonic()
        largest: dict[str, Memory] = {}
        for process in [here, *here.children(recursive=True)]:
            try:
                kind = "driver" if process == here else _kind(process)
                memory, times = Memory.of(process), process.cpu_times()
            except psutil.Error:
                continue
            largest[kind] = max(largest.get(kind, memory), memory, key=lambda each: each.own)
            used = times.user + times.system
            more = used - self._known.get(process.pid, 0.0)
            self._known[process.pid] = used
            if kind.removeprefix("ray::") in WORKERS.get(self._phase, ()):
                self.cpu[self._phase] += more
        for kind, memory in largest.items():
            self._memory[kind].append((now, memory))

    def peaks(self) -> dict[str, dict[str, int]]:
        """Return of each kind of large process the most memory, MiB, own and shared, each by itself."""
        return {
            kind: {
                "own": max(memory.own for _, memory in seen) // MIB,
                "shared": max(memory.shared for _, memory in seen) // MIB,
            }
            for kind, seen in sorted(self._memory.items())
            if max(memory.own for _, memory in seen) > LEAST_SHOWN
        }

    def curves(self) -> dict[str, list[tuple[float, int]]]:
        """Return of each kind of large process its own memory, MiB, over time as a share of all, at few moments."""
        every = [moment for seen in self._memory.values() for moment, _ in seen]
        first, last, large = min(every), max(every), self.peaks().keys()
        return {
            kind: [
                (round((moment - first) / max(last - first, 1e-9), 4), memory.own // MIB)
                for moment, memory in seen[:: -(-len(seen) // MOMENTS)]
            ]
            for kind, seen in sorted(self._memory.items())
            if kind in large
        }


def _kind(process: psutil.Process) -> str:
    """Return what a process of Ray does, without its number."""
    title = (process.cmdline() or [process.name()])[0]
    return title.split("(")[0].split(".")[0].strip() if title.startswith("ray::") else process.name()


def write_library(path: Path, rows: int) -> None:
    """Write so many rows of the library data, taken evenly from all of it, in its order."""
    place = written = 0
    with replacing(path) as aside, zstandard.open(aside, "wb") as library:
        for block in read_all(resolve([str(SHARED_DATA / "library" / "*.smi.zst")])):
            for raw in block["raw"].to_pylist():
                if place * rows // ROWS != (place - 1) * rows // ROWS and written < rows:
                    library.write(raw + b"\n")
                    written += 1
                place += 1


def curves_of(memory: dict[int, dict[str, Any]], step: str) -> list[Curve]:
    """Return the memory of each kind of process at work in a step, at each number of rows."""
    styles = dict(zip(sorted(memory), ("--", "-", ":", "-."), strict=False))
    return [
        Curve(kind, [at for at, _ in points], [mib for _, mib in points], styles.get(rows, "-"), note=f"{rows:,} rows")
        for rows, steps in memory.items()
        for kind, points in steps.get(step, {}).items()
        if kind != IDLE
    ]


def show(result: dict[str, Any]) -> None:
    """Print what was measured as a table."""
    resumed = f"; went on with {', '.join(result['resumed'])}" if result["resumed"] else ""
    print(f"{result['rows']:,} rows, {result['molecules']:,} molecules, epochs {result['epochs']}{resumed}")
    for step, rate in result["molecules_per_second"].items():
        of_cpu = result["molecules_per_cpu_second"].get(step)
        print(f"{step:34} {f'{of_cpu:,}' if of_cpu else '-':>8}/s of CPU {rate:8,}/s by the clock")
    for step, rate in result.get("of_the_clock", {}).items():
        print(f"{step:34} {rate:26,}/s by the clock")
    for name, size in result["bytes_per_molecule"].items():
        print(f"{name:34} {size:8,} bytes a molecule")
    for step, peaks in result["peak_mib"].items():
        told = [f"{kind} {peak['own']:,} MiB and {peak['shared']:,} shared" for kind, peak in peaks.items()]
        print(f"{step:34} " + ", ".join(told))
    print(f"explained: {result.get('explained')}; RMSE: {result.get('rmse')}")


def show_memory(results: Sequence[dict[str, Any]]) -> None:
    """Print the peak of every kind of process's own memory in each step, at each number of rows."""
    print("\nown memory at its peak, MiB" + " " * 17 + "".join(f"{result['rows']:>12,}" for result in results))
    kinds = {(step, kind) for result in results for step, peaks in result["peak_mib"].items() for kind in peaks}
    for step, kind in sorted(kinds):
        cells = [result["peak_mib"].get(step, {}).get(kind, {}).get("own") for result in results]
        print(f"{step:10} {kind:32} " + "".join(f"{cell:>12,}" if cell else f"{'-':>12}" for cell in cells))


if __name__ == "__main__":
    main()
