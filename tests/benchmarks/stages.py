"""What each stage of the annotation costs a row: on one core, in one process, which is a Ray worker.

    python -m tests.benchmarks.stages [--rows 20000] [--json]

The stages do exactly what they do in a run: read the file, parse and register its rows (`plan`), annotate batches with
the scripted engine, which writes ready texts, and plan once more when nothing is left to do. Their CPU
time counts, with that of Redis left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psutil
import pyarrow as pa
import ray

from cluster.annotation.annotator import Annotator
from cluster.annotation.job import Job
from cluster.annotation.plan import plan
from cluster.library.rows import read_all
from cluster.library.source import resolve
from cluster.runtime.session import ray_session
from cluster.store.open import open_store
from teacher.llm.prompt import load
from teacher.llm.spec import Model, PromptRef, Sampling, Spec
from tests.benchmarks.million import write_library, write_texts
from tests.support.machine import machine
from tests.support.scripted import Script

BATCH = 256
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ray_session(None):
        library = Path(folder) / "library.smi.zst"
        rows = write_library(library, arguments.rows)
        texts = json.loads(write_texts(Path(folder) / "texts.json").read_text())
        with open_store(f"{folder}/store") as store:
            job = _job(store.url, str(library), tuple(texts))
            store.save_spec(job.spec, job.prompt)
            rates = ray.get(ray.remote(_rates).remote(library, job, folder))
    result = {"rows": rows, "rows_per_second_per_core": rates, "machine": machine()}
    print(json.dumps(result) if arguments.json else "\n".join(f"{name}: {rate}" for name, rate in rates.items()))


def _rates(library: Path, job: Job, folder: str) -> dict[str, int]:
    blocks, model_inputs = _timed(lambda: list(read_all(resolve([str(library)]))))
    plan(blocks[0].slice(0, 10), job)  # loads what it needs
    todo, planning = _timed(lambda: [plan(block, job) for block in blocks])
    table = pa.concat_tables(todo)
    annotator = Annotator(job, folder)
    annotator.start()
    annotator.annotate(table, 0, 10)

    def annotate() -> None:
        for start in range(10, table.num_rows, BATCH):
            annotator.annotate(table, start, BATCH)

    _, annotating = _timed(annotate)
    _, planning_again = _timed(lambda: [plan(block, replace(job, run="again")) for block in blocks])
    rows = sum(block.num_rows for block in blocks)
    return {
        "read": round(rows / model_inputs),
        "plan": round(rows / planning),
        "annotate": round((table.num_rows - 10) / annotating),
        "plan_nothing_to_do": round(rows / planning_again),
    }


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = _cpu_seconds()
    return work(), _cpu_seconds() - began


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it has started: rows are parsed in one of them."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _job(store_url: str, library: str, texts: tuple[str, ...]) -> Job:
    prompt = load("describe")
    spec = Spec(
        model=Model(name="scripted", revision="1"), prompt=PromptRef.of(prompt), sampling=Sampling(max_tokens=9)
    )
    return Job(
        run="stages",
        store_url=store_url,
        spec=spec,
        prompt=prompt,
        sources=(library,),
        max_attempts=3,
        engine=Script(texts=texts),
    )


if __name__ == "__main__":
    main()
