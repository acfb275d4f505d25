"""What one molecule costs the process of an annotator: CPU time, and the part of it under Python's lock (the GIL).

    python -m tests.benchmarks.frontend [--molecules 512] [--repeats 3] [--json]

An annotator as in a run, with Redis and vLLM's real frontend, and a stub in place of the engine's process; tiny's
vocabulary and one of 131,072 tokens, pictures of 448 px, the real schema. The pictures are drawn in this process, or
have been drawn elsewhere, as in a run; prompts are made in this process, or in another, as in a run on GPUs.
The share of the GIL is the time that it was held, as `gilknocker` samples it (which is to be installed for that).
How drawing gets on with a second process is shown last.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from rdkit import RDConfig

from cluster.annotation.annotator import Annotator
from cluster.annotation.draw import draw_rows
from cluster.annotation.job import Job
from cluster.annotation.metrics import serve_measured
from cluster.annotation.plan import plan
from cluster.annotation.pool import CALLS
from cluster.library.rows import read_all
from cluster.library.source import resolve
from cluster.runtime.session import ray_session
from cluster.store.open import open_store
from teacher.chemistry.drawing import SafeDrawer
from teacher.chemistry.parsing import Parsed, shared_parser
from teacher.llm.engine import Engine
from teacher.llm.engines.vllm_arguments import EngineSettings
from teacher.llm.models import identify, local_path
from teacher.llm.prompt import load
from teacher.llm.spec import PromptRef, Sampling, Spec
from tests.support.machine import machine
from tests.support.random_weights import ANSWER
from tests.support.real_vocabulary import write_real_vocabulary
from tests.support.stub_core import StubCore, stubbed

PIXELS = 448
BATCH = 64
LIBRARY = f"{RDConfig.RDDataDir}/NCI/first_5K.smi"
# Whether pictures are drawn ahead, and how many processes make prompts.
WAYS = {"drawn here": (False, 0), "drawn elsewhere": (True, 0), "drawn and rendered elsewhere": (True, 1)}
started: dict[tuple[str, int], tuple[Engine, StubCore]] = {}  # in this process, by the model's folder and the renderers


@dataclass(frozen=True)
class ServeStub:
    """Starts vLLM's frontend with the stub behind it, once in a process."""

    spec: Spec
    path: str
    renderers: int
    answer: tuple[int, ...]

    def __call__(self, log_path: Path) -> Engine:
        key = (self.path, self.renderers)
        if key not in started:
            core = StubCore(self.answer)
            settings = EngineSettings(max_num_seqs=256, max_model_len=4096, image_size=PIXELS, renderers=self.renderers)
            with stubbed(core):
                started[key] = serve_measured(self.spec.model, self.path, settings, log_path), core
        return started[key][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, ray_session(None):
        write_real_vocabulary(Path(folder) / "tekken")
        with open_store(f"{folder}/store") as store:
            for name, path in {"tiny": local_path("tiny"), "tekken": f"{folder}/tekken"}.items():
                measured = ray.remote(measure).options(num_cpus=1)
                results[name] = ray.get(
                    measured.remote(path, store.url, folder, arguments.molecules, arguments.repeats)
                )
        results["drawing"] = drawing_scales(arguments.molecules)
    if arguments.json:
        print(json.dumps({**results, "machine": machine()}))
    else:
        for name, found in results.items():
            print(f"{name}: " + "; ".join(f"{what}: {value}" for what, value in found.items()))


def measure(path: str, store_url: str, folder: str, molecules: int, repeats: int) -> dict[str, Any]:
    """Return CPU milliseconds a molecule of this process, and how many of them were under the GIL."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for repeat in range(repeats + 1):
        for number, (way, (drawn, renderers)) in enumerate(WAYS.items()):
            job = _job(path, store_url, renderers, seed=len(WAYS) * repeat + number)
            table = plan(next(iter(read_all(resolve([LIBRARY])))).slice(0, molecules), job)
            annotator = Annotator(job, folder)
            annotator.start()
            table = draw_rows(table, PIXELS) if drawn else table
            annotator.annotate(table, 0, 8)  # starts the engine
            cost = _annotated(annotator, table.slice(8), started[path, renderers][1])
            print(f"{path}, {way}: {cost[0]:.1f} ms", file=sys.stderr)
            if repeat:  # the first one loads code
                found[way].append(cost)
    return {
        name: {
            "cpu_ms": round(statistics.median(cpu for cpu, _ in costs), 2),
            "gil_ms": round(statistics.median(cpu * share for cpu, share in costs), 2),
        }
        for name, costs in found.items()
    }


def drawing_scales(molecules: int) -> dict[str, Any]:
    """Return how many molecules one process draws in a second, and two at the same time."""
    smiles = _smiles(molecules)
    rates = {}
    for processes in (1, 2):
        drawers = [SafeDrawer() for _ in range(processes)]
        with ThreadPoolExecutor(processes) as threads:
            list(threads.map(lambda drawer: drawer.draw(smiles[:8], PIXELS), drawers))
            began = time.monotonic()
            list(threads.map(lambda drawer: drawer.draw(smiles, PIXELS), drawers))
            rates[processes] = processes * len(smiles) / (time.monotonic() - began)
        for drawer in drawers:
            drawer.close()
    return {"one_per_s": round(rates[1]), "two_per_s": round(rates[2]), "ratio": round(rates[2] / rates[1], 2)}


def _smiles(molecules: int) -> list[str]:
    """Return canonical SMILES of the library."""
    found = shared_parser().parse([(row["raw"], row["notation"]) for row in _rows(molecules)])
    return [molecule.smiles for molecule in found if isinstance(molecule, Parsed)]


def _rows(molecules: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = next(iter(read_all(resolve([LIBRARY])))).slice(0, molecules).to_pylist()
    return rows


def _annotated(annotator: Annotator, table: pa.Table, core: StubCore) -> tuple[float, float]:
    """Annotate a table as a run does, and return CPU milliseconds a molecule, and the share of the GIL in them."""
    starts = range(0, table.num_rows, BATCH)
    spent = core.own_seconds
    with ThreadPoolExecutor(CALLS) as threads, _gil() as share:
        began = time.process_time()
        list(threads.map(lambda start: annotator.annotate(table, start, BATCH), starts))
        used = time.process_time() - began - (core.own_seconds - spent)
    return 1000 * used / table.num_rows, share()


@contextmanager
def _gil() -> Iterator[Callable[[], float]]:
    """Measure how much of the CPU time meanwhile the GIL was held; NaN without `gilknocker`."""
    if importlib.util.find_spec("gilknocker") is None:
        yield lambda: float("nan")
        return
    knocker = importlib.import_module("gilknocker").KnockKnock(1_000)
    knocker.start()
    began, began_cpu = time.monotonic(), time.process_time()
    held: list[float] = []
    try:
        yield lambda: held[0]
    finally:
        wall, cpu = time.monotonic() - began, time.process_time() - began_cpu
        held.append(min(1.0, knocker.contention_metric * wall / cpu))
        knocker.stop()


def _job(path: str, store_url: str, renderers: int = 0, seed: int = 0) -> Job:
    """Return a job of its own for each seed, so that nothing is done already."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    answer = [*tokenizer.encode(json.dumps(ANSWER), add_special_tokens=False)]
    answer.append(tokenizer.convert_tokens_to_ids("<end_of_utterance>"))
    prompt = load("describe")
    spec = Spec(
        model=identify("tiny" if path == local_path("tiny") else path),
        prompt=PromptRef.of(prompt),
        image_size=PIXELS,
        sampling=Sampling(max_tokens=prompt.max_tokens, seed=seed),
    )
    return Job(
        run=f"{seed}-{len(answer)}",
        store_url=store_url,
        spec=spec,
        prompt=prompt,
        sources=(LIBRARY,),
        max_attempts=1,
        engine=ServeStub(spec, path, renderers, tuple(answer)),
    )


if __name__ == "__main__":
    main()
