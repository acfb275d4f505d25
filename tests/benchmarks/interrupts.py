"""How soon `gallon evaluate` ends after Ctrl-C, and after SIGTERM, whatever is being fitted.

    python -m tests.benchmarks.interrupts [--after 15] [--methods random_forest,dmpnn,…] [--json]

Each comparison runs in a process of its own on the molecules of Lipo (`../shared/data`), and is interrupted so many
seconds after its first fit has begun. The time is that from the signal to the end of the process, which stops the Ray
that it has started. `tuning` is a student under `--trials`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.data import SHARED_DATA
from tests.support.machine import machine

TREES = ("random_forest", "gradient_boosting", "lightgbm")
NETWORKS = ("gcn", "dmpnn", "student", "student+gnn", "tuning")
SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--after", type=float, default=15.0)
    parser.add_argument("--methods", default=",".join((*TREES, *NETWORKS)))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    data = SHARED_DATA / "moleculenet"
    if not data.is_dir():
        sys.exit(f"There is no data at {data}.")
    found = {
        method: {name: _seconds_to_end(method, data, number, arguments.after) for name, number in SIGNALS.items()}
        for method in arguments.methods.split(",")
    }
    if arguments.json:
        print(json.dumps({"seconds": found, "after": arguments.after, "machine": machine()}))
        return
    print(f"{'method':20}" + "".join(f"{name:>10}" for name in SIGNALS))
    for method, seconds in found.items():
        print(f"{method:20}" + "".join(f"{each:>10.2f}" for each in seconds.values()))


def _seconds_to_end(method: str, data: Path, number: signal.Signals, after: float) -> float:
    """Return how long a comparison of one method runs on after a signal."""
    words = ["--methods", "student", "--trials", "50"] if method == "tuning" else ["--methods", method]
    gallon = str(Path(sys.executable).parent / "gallon")
    with tempfile.TemporaryDirectory() as folder:
        command = [gallon, "evaluate", "lipo", "--data-root", str(data), *words, "--seeds", "25"]
        command += ["--split", "scaffold-cv", "--out", f"{folder}/out"]
        environment = {**os.environ, "GALLON_STORE": f"{folder}/store"}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("fits: started"):
                    break
            time.sleep(after)
            if process.poll() is not None:
                raise RuntimeError(f"{method} ended before it was interrupted (exit {process.returncode}).")
            process.send_signal(number)
            sent = time.monotonic()
            process.communicate()
            seconds = time.monotonic() - sent
    print(f"{method}, {number.name}: {seconds:.2f} s, exit code {process.returncode}", file=sys.stderr)
    return seconds


if __name__ == "__main__":
    main()
