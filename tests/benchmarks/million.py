"""A million molecules from the file to the durable record, with the driver killed three times on the way.

    python -m tests.benchmarks.million [--rows N] [--json]

All rows of the library data, 5 % of them repeated and 2 % damaged, go through the whole walk but for the LLM: the
engine is scripted, writes texts that an LLM once wrote about other molecules, and costs next to nothing. No pictures
are drawn. Measured are the rate, the memory of everything over time (a plot beside the result), the bytes of a record
in Redis, and how long the last run takes, which has nothing to do. What each stage costs a row is measured apart, in
one process without Ray.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import zstandard

from cluster.library.rows import read_all
from cluster.library.source import resolve
from cluster.records.completeness import verify
from cluster.runtime.periodic import run_periodically
from cluster.store.open import open_store
from cluster.store.store import Store
from tests.support.data import SHARED_DATA
from tests.support.machine import machine
from tests.support.memory import Memory

RESULTS = Path(__file__).parent / "results"
REPEATED, DAMAGED = 0.05, 0.02
KILLED_AT = (0.25, 0.5, 0.75)  # of the molecules
CONCURRENCY = 1024  # as of a large GPU
SAMPLE_SECONDS = 2.0
GIB, MIB = 2**30, 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="take only so many rows of the library data")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the plot and the result")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library.smi.zst"
        rows = write_library(library, arguments.rows)
        texts = write_texts(Path(folder) / "texts.json")
        store_folder = Path(folder) / "store"
        with open_store(str(store_folder)) as store:
            command = [sys.executable, "-m", "tests.support.drive", str(library), str(store_folder)]
            command += ["--texts", str(texts), "--concurrency", str(CONCURRENCY)]
            work = run_and_kill(command, store, rows)
            nothing = run_to_the_end(command, store)
            result = {**summary(work, nothing, store, library, rows), "machine": machine()}
    draw(work.samples, arguments.out / "million.png")
    (arguments.out / "million.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    if arguments.json:
        print(json.dumps(result))


# The library


def write_library(path: Path, most: int | None) -> int:
    """Write the library data with repeated and damaged rows among them; return how many rows there are."""
    chance = random.Random(0)
    rows = 0
    with zstandard.open(path, "wb") as library:
        for line in islice(_with_repeats(chance), most):
            library.write(_damaged(line, chance) if chance.random() < DAMAGED else line)
            rows += 1
    return rows


def _with_repeats(chance: random.Random) -> Iterator[bytes]:
    before: list[bytes] = []
    sources = resolve([str(SHARED_DATA / "library" / "*.zst")])
    for table in read_all(sources):
        for smiles in table["raw"].to_pylist():
            line = smiles + b"\n"
            yield line
            if chance.random() < REPEATED:
                yield chance.choice(before) if before else line
            if len(before) < 10_000 or chance.random() < 0.01:
                before[chance.randrange(10_000) :] = [line]


def _damaged(line: bytes, chance: random.Random) -> bytes:
    """Return a line as it comes out of a careless program: cut, with foreign bytes, empty, or of another file."""
    cut = chance.randrange(len(line))
    ways = (line[:cut] + b"(\n", line[:cut] + b"\xff\xfe" + line[cut:], b"\n", b"smiles\tsource\n", b"c1cc[N" + line)
    return chance.choice(ways)


def write_texts(path: Path) -> Path:
    """Write what the engine answers: real texts of an LLM, as answers to the `describe` prompt."""
    lines = (SHARED_DATA / "text" / "clintox_gpt35.jsonl").read_text().splitlines()
    answers = [
        {
            "functional_groups": ["amide", "ether"],
            "aromatic_rings": number % 4,
            "aliphatic_rings": number % 2,
            "polarity": "medium",
            "lipophilicity": "low",
            "description": json.loads(line)["text"][-600:],
        }
        for number, line in enumerate(lines)
    ]
    path.write_text(json.dumps([json.dumps(answer) for answer in answers]))
    return path


# Runs and what they use


@dataclass
class Sample:
    """One moment: bytes of resident memory, and what is done."""

    seconds: float
    driver: int
    annotator: int
    other_workers: int
    redis: int
    accepted: int


@dataclass
class Work:
    """Runs until the end: how long each lasted, and the samples of all."""

    seconds: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    ledger: dict[str, Any] = field(default_factory=dict)


def run_and_kill(command: list[str], store: Store, rows: int) -> Work:
    """Run a command, kill it three times, and run it to the end."""
    work = Work()
    for share in (*KILLED_AT, None):
        started = time.monotonic()
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with sampled(driver, store, work.samples):
            if share is None:
                work.ledger = json.loads(driver.communicate()[0].splitlines()[-1])
            else:
                while _accepted(store) < share * rows:
                    time.sleep(0.5)
                    assert driver.poll() is None, "the run ended before it could be killed"
                driver.kill()
                driver.wait()
        work.seconds.append(round(time.monotonic() - started, 1))
        print(f"{'ended' if share is None else 'killed'} after {work.seconds[-1]} s", file=sys.stderr)
    return work


def run_to_the_end(command: list[str], store: Store) -> Work:
    """Run a command once."""
    work = Work()
    started = time.monotonic()
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with sampled(driver, store, work.samples, period=1.0):
        work.ledger = json.loads(driver.communicate()[0].splitlines()[-1])
    work.seconds.append(round(time.monotonic() - started, 1))
    return work


@contextmanager
def sampled(
    driver: subprocess.Popen[str], store: Store, samples: list[Sample], period: float = SAMPLE_SECONDS
) -> Iterator[None]:
    """Take samples while the body runs; their time goes on from that of the last one."""
    begun = time.monotonic() - (samples[-1].seconds if samples else 0.0)

    def take() -> None:
        samples.append(_sample(driver.pid, store, time.monotonic() - begun))

    with run_periodically(period, take, "samples"):
        yield


def _sample(driver: int, store: Store, seconds: float) -> Sample:
    workers = [(_title(process), _memory(process)) for process in _descendants(driver)]
    return Sample(
        seconds=round(seconds, 1),
        driver=_memory(psutil.Process(driver)) if psutil.pid_exists(driver) else 0,
        annotator=sum(memory for title, memory in workers if "Annotator" in title),
        other_workers=sum(
            memory for title, memory in workers if title.startswith("ray::") and "Annotator" not in title
        ),
        redis=store.memory()[0],
        accepted=_accepted(store),
    )


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _memory(process: psutil.Process) -> int:
    """Return the resident memory that is a process's own; nothing of one that is gone."""
    try:
        return Memory.of(process).own
    except psutil.Error:
        return 0


def _accepted(store: Store) -> int:
    return sum(store.counts(spec_id).accepted for spec_id in store.specs())


# What is made of it


def summary(work: Work, nothing: Work, store: Store, library: Path, rows: int) -> dict[str, Any]:
    (spec_id,) = store.specs()
    started = time.monotonic()
    verdict = verify(resolve([str(library)]), limit=None, spec_id=spec_id, store=store)
    verified = time.monotonic() - started
    records = 10_000
    sizes = [len(packed) for _, packed in islice(store.packed_records(spec_id), records)]
    steady = _rates(work.samples)
    return {
        "rows": rows,
        "ledger": work.ledger,
        "verify": {"ok": verdict.ok, "missing": verdict.missing, "seconds": round(verified, 1)},
        "runs_seconds": work.seconds,
        "molecules_per_second": round(verdict.accepted / sum(work.seconds), 1),
        "molecules_per_second_median": round(sorted(steady)[len(steady) // 2], 1),
        "bytes_per_record": {
            "packed": round(sum(sizes) / len(sizes)),
            "redis": round(store.memory()[0] / verdict.accepted),
        },
        "memory_mib": {
            name: _spread([getattr(sample, name) for sample in work.samples])
            for name in ("driver", "annotator", "other_workers", "redis")
        },
        "nothing_to_do": {
            "seconds": nothing.seconds[0],
            "driver_mib": max(sample.driver for sample in nothing.samples) // MIB,
            "new": nothing.ledger["new"],
        },
    }


def _rates(samples: list[Sample]) -> list[float]:
    pairs = zip(samples, samples[5:], strict=False)
    rates = [(b.accepted - a.accepted) / (b.seconds - a.seconds) for a, b in pairs if b.seconds > a.seconds]
    return [rate for rate in rates if rate > 0]


def _spread(values: list[int]) -> dict[str, int]:
    """Return the median of the first and of the last quarter, and the greatest value, in MiB."""
    quarter = max(1, len(values) // 4)
    middle: Callable[[list[int]], int] = lambda some: sorted(some)[len(some) // 2] // MIB  # noqa: E731
    return {
        "first_quarter": middle(values[:quarter]),
        "last_quarter": middle(values[-quarter:]),
        "most": max(values) // MIB,
    }


def draw(samples: list[Sample], path: Path) -> None:
    """Plot memory and accepted records over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    minutes = [sample.seconds / 60 for sample in samples]
    figure, (memory, done) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 6), layout="constrained")
    for name in ("driver", "annotator", "other_workers", "redis"):
        memory.plot(minutes, [getattr(sample, name) / GIB for sample in samples], label=name.replace("_", " "))
    memory.set_ylabel("memory, GiB")
    memory.legend(loc="upper left")
    done.plot(minutes, [sample.accepted for sample in samples], color="black")
    done.set_ylabel("accepted records")
    done.set_xlabel("minutes; the driver was killed three times")
    figure.savefig(path, dpi=120)


def show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "value", title=f"{result['rows']:,} rows")
    for name, value in result.items():
        if name == "rows":
            continue
        for part, number in value.items() if isinstance(value, dict) else [("", value)]:
            table.add_row(f"{name} {part}".replace("_", " "), str(number))
    Console(file=sys.stderr).print(table)


if __name__ == "__main__":
    main()
