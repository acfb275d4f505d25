"""All of a library in one `gallon screen`: its rate, its memory over time, and whether being killed changes a byte.

    python -m tests.benchmarks.screen_million [--rows 966463] [--json] [--out FOLDER]

The rows of the library data are screened by a student on fingerprints, with doubt, into a CSV: once undisturbed, and
once killed three times, with its workers, and begun again each time by the same command. Memory is the resident set of
each process, shared pages included: the driver, and the largest of its workers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cluster.runtime.periodic import run_periodically
from cluster.runtime.session import ray_session
from distill.screen.parts import PART_ROWS
from tests.benchmarks.learn_million import ROWS, write_library
from tests.benchmarks.screening import inhibitors_in, trained_student
from tests.support.data import SHARED_DATA
from tests.support.machine import machine
from tests.support.memory import Curve, draw

RESULTS = Path(__file__).parent / "results"
KILLED_AT = (0.2, 0.45, 0.7)  # of the parts that the output is kept in
SAMPLE_SECONDS = 1.0
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="of the library data, taken evenly")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="folder for the result and the plot; default: none is written")
    arguments = parser.parse_args()
    if not SHARED_DATA.is_dir():
        raise SystemExit(f"The library data are not at {SHARED_DATA}.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = folder / "library.smi.zst"
        write_library(library, arguments.rows)
        with ray_session(None):
            student = trained_student(folder / "student", inhibitors_in(folder), "lean")
        undisturbed, killed = (Screening(library, student, folder / f"{kind}.csv") for kind in ("whole", "killed"))
        undisturbed.run()
        for share in KILLED_AT:
            killed.run(killed_at=max(1, int(share * arguments.rows / PART_ROWS)))
        killed.run()
        result = summary(arguments.rows, undisturbed, killed)
    show(result)
    if arguments.out:
        seconds = [sample[0] for sample in undisturbed.samples]
        kinds = ("driver", "largest worker")
        curves = [Curve(kind, seconds, [each[n] for each in undisturbed.samples]) for n, kind in enumerate(kinds, 1)]
        draw({"": curves}, arguments.out / "screen_million.png", time="seconds", memory="resident memory, MiB")
        (arguments.out / "screen_million.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(result))


@dataclass
class Screening:
    """A screening, in as many runs as it takes.

    Attributes:
        library, student, out: of the command.
        seconds, cpu: of each run, by the clock and of the processors; of a killed one the latter is what was last seen.
        samples: moments of the last run: seconds, MiB of the driver and of the largest worker.
    """

    library: Path
    student: Path
    out: Path
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    samples: list[tuple[float, int, int]] = field(default_factory=list)

    def run(self, killed_at: int | None = None) -> None:
        """Run the command: to its end, or until it keeps so many parts and is killed with its workers."""
        command = [sys.executable, "-m", "gallon", "screen", str(self.library), "--student", str(self.student)]
        begun = time.monotonic()
        driver = subprocess.Popen(
            [*command, "--out", str(self.out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
        )
        used: dict[int, float] = {}
        self.samples = []
        with run_periodically(SAMPLE_SECONDS, lambda: self._sample(driver.pid, begun, used), "memory"):
            if killed_at is None:
                assert driver.wait() == 0, "the screening failed"
            else:
                parts = self.out.with_name(f"{self.out.name}.parts")
                while len(list(parts.glob("*.arrow"))) < killed_at:
                    assert driver.poll() is None, "the screening ended before it could be killed"
                    time.sleep(0.1)
                os.killpg(driver.pid, signal.SIGKILL)
                driver.wait()
        self.seconds.append(round(time.monotonic() - begun, 1))
        self.cpu.append(round(sum(used.values()), 1))
        print(f"{'killed' if killed_at else 'ended'} after {self.seconds[-1]} s", file=sys.stderr)

    def _sample(self, driver: int, begun: float, used: dict[int, float]) -> None:
        try:
            process = psutil.Process(driver)
            everyone = [process, *process.children(recursive=True)]
            memory = [one.memory_info().rss // MIB for one in everyone]
            for one in everyone:
                times = one.cpu_times()
                used[one.pid] = times.user + times.system
        except psutil.Error:
            return
        self.samples.append((round(time.monotonic() - begun, 1), memory[0], max(memory[1:], default=0)))


def summary(rows: int, undisturbed: Screening, killed: Screening) -> dict[str, Any]:
    """Return what both came to."""
    first, second = (hashlib.sha256(each.out.read_bytes()).hexdigest() for each in (undisturbed, killed))
    third = max(1, len(undisturbed.samples) // 3)
    memory = {
        kind: {
            "first_third_mib": max(sample[place] for sample in undisturbed.samples[:third]),
            "most_mib": max(sample[place] for sample in undisturbed.samples),
        }
        for place, kind in ((1, "driver"), (2, "worker"))
    }
    return {
        "rows": rows,
        "seconds": undisturbed.seconds[0],
        "rows_per_second": round(rows / undisturbed.seconds[0]),
        "rows_per_cpu_second": round(rows / undisturbed.cpu[0]),
        "memory": memory,
        "output_bytes": undisturbed.out.stat().st_size,
        "killed_runs_seconds": killed.seconds,
        "byte_equal": first == second,
        "sha256": first,
        "machine": machine(),
    }


def show(result: dict[str, Any]) -> None:
    """Print what was measured."""
    print(f"{result['rows']:,} rows in {result['seconds']:,} s: {result['rows_per_second']:,}/s by the clock, ", end="")
    print(f"{result['rows_per_cpu_second']:,}/s of CPU")
    for kind, memory in result["memory"].items():
        print(f"{kind}: at most {memory['first_third_mib']:,} MiB in the first third, {memory['most_mib']:,} in all")
    same = "the same bytes" if result["byte_equal"] else "OTHER BYTES"
    print(f"killed three times, runs of {result['killed_runs_seconds']} s: {same}")


if __name__ == "__main__":
    main()
