"""How much of bare vLLM's speed the whole annotation keeps, and where the rest goes.

    python -m tests.benchmarks.annotate_vs_vllm [--rows 1000] [--repeats 3] [--json]

Bare is `AsyncLLM` with the same settings, fed all at once with the same prompts, already drawn and templated. Ours is
the whole walk: file, Ray Data, parsing, depiction, prompt, engine, checks, durable commit. Both are measured in one
run, alternating, each from the moment its engine is ready; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdkit import RDConfig

from cluster.annotation.annotate import annotate
from cluster.annotation.metrics import serve_measured
from cluster.annotation.pool import Pool
from cluster.annotation.resources import cpu_threads
from cluster.library.rows import read_all
from cluster.library.source import resolve
from cluster.runtime.session import RaySession, ray_session
from cluster.store.open import open_store
from cluster.store.record import Record
from cluster.store.store import Row, Store
from teacher.chemistry.depiction import draw
from teacher.chemistry.facts import facts_of
from teacher.chemistry.graph_text import graph_text
from teacher.chemistry.molecule import InvalidMoleculeError, Molecule, parse
from teacher.llm.engine import Engine, Request
from teacher.llm.engines.vllm_arguments import EngineSettings
from teacher.llm.engines.vllm_engine import chat_message, launch, sampling_params
from teacher.llm.models import identify, local_path
from teacher.llm.prompt import Picture, Prompt, load
from teacher.llm.spec import PromptRef, Sampling, Spec
from teacher.llm.validation import validate
from tests.support.machine import machine
from tests.support.scripted import true_answer

IMAGE_SIZE = 224
WARM_UP = 16  # requests by which an engine loads its code, before it counts as ready


@dataclass(frozen=True)
class TimedServe:
    """Starts the engine inside the annotator, lets it load its code, and writes down when it was ready."""

    spec: Spec
    prompt: Prompt
    settings: EngineSettings
    ready: Path

    def __call__(self, log_path: Path) -> Engine:
        engine = serve_measured(self.spec.model, local_path("tiny"), self.settings, log_path)
        warm_up = _requests([parse(b"C" * length) for length in range(1, WARM_UP + 1)], self.spec, self.prompt)
        for answer in [engine.submit(request) for request in warm_up]:
            answer.result()
        self.ready.write_text(repr(time.time()))
        return engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    library = f"{RDConfig.RDDataDir}/NCI/first_5K.smi"
    prompt = load("describe")
    settings = EngineSettings(max_num_seqs=arguments.concurrency, cpu_threads=cpu_threads(1))
    spec = Spec(
        model=identify("tiny"),
        prompt=PromptRef.of(prompt),
        image_size=IMAGE_SIZE,
        sampling=Sampling(max_tokens=prompt.max_tokens),
    )
    molecules = _molecules(library, arguments.rows)
    with tempfile.TemporaryDirectory() as folder, ray_session(None) as session:
        bare = asyncio.new_event_loop()
        llm = bare.run_until_complete(launch(spec.model, local_path("tiny"), settings))
        rates: dict[str, list[float]] = {"bare": [], "ours": []}
        tokens: dict[str, int] = {}
        bare.run_until_complete(_bare(llm, _requests(molecules[-WARM_UP:], spec, prompt)))
        for repeat in range(arguments.repeats):
            rate, tokens["bare"] = bare.run_until_complete(_bare(llm, _requests(molecules, spec, prompt)))
            rates["bare"].append(rate)
            rate, tokens["ours"] = _ours(
                Path(folder) / str(repeat),
                library,
                arguments.rows,
                spec=spec,
                prompt=prompt,
                session=session,
                settings=settings,
            )
            rates["ours"].append(rate)
            print(
                f"repeat {repeat}: bare {rates['bare'][-1]:.1f}, ours {rates['ours'][-1]:.1f} rows/s", file=sys.stderr
            )
        llm.shutdown()
        bare.run_until_complete(asyncio.sleep(1))  # for its tasks to end
        stages = _stages(Path(folder) / "stages", molecules, spec, prompt)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    result = {
        "ratio": round(medians["ours"] / medians["bare"], 3),
        "rows": arguments.rows,
        "rows_per_second": {name: round(value, 2) for name, value in medians.items()},
        "all_rows_per_second": {name: [round(value, 2) for value in values] for name, values in rates.items()},
        "completion_tokens": tokens,
        "stage_cpu_ms_per_row": stages,
        "machine": machine(),
    }
    _print(result)
    if arguments.json:
        print(json.dumps(result))


def _molecules(library: str, rows: int) -> list[Molecule]:
    """Return the distinct molecules among the first rows of a library."""
    found: dict[bytes, Molecule] = {}
    for block in read_all(resolve([library]), rows):
        for row in block.to_pylist():
            try:
                molecule = parse(row["raw"], row["notation"])
            except InvalidMoleculeError:
                continue
            found.setdefault(molecule.key, molecule)
    return list(found.values())


def _requests(molecules: list[Molecule], spec: Spec, prompt: Prompt) -> list[Request]:
    sampling = spec.sampling
    assert sampling is not None
    stamp = str(time.time())  # the pictures of each repeat are new to the engine, as those of a library are
    return [
        Request(
            prompt.render(
                task=None,
                smiles=molecule.smiles,
                picture=Picture(draw(molecule.mol, IMAGE_SIZE), f"{molecule.key.hex()}-{stamp}"),
                graph=graph_text(molecule.mol),
            ),
            sampling,
            prompt.json_schema,
        )
        for molecule in molecules
    ]


async def _bare(llm: Any, requests: list[Request]) -> tuple[float, int]:
    """Return rows/s and completion tokens of `AsyncLLM` on templated prompts with decoded pictures."""
    from vllm.renderers.params import ChatParams

    prompts = [llm.renderer.render_messages([chat_message(request)], ChatParams())[1] for request in requests]

    async def complete(number: int) -> int:
        async for output in llm.generate(prompts[number], sampling_params(requests[number]), str(number)):
            final = output
        return len(final.outputs[0].token_ids)

    started = time.perf_counter()
    tokens = await asyncio.gather(*(complete(number) for number in range(len(prompts))))
    return len(prompts) / (time.perf_counter() - started), sum(tokens)


def _ours(
    folder: Path, library: str, rows: int, *, spec: Spec, prompt: Prompt, session: RaySession, settings: EngineSettings
) -> tuple[float, int]:
    """Return rows/s and completion tokens of the whole annotation, from the ready engine to the last commit."""
    with open_store(str(folder)) as store:
        ready = folder / "ready"
        result = annotate(
            resolve([library]),
            limit=rows,
            spec=spec,
            prompt=prompt,
            store=store,
            session=session,
            engine=TimedServe(spec, prompt, settings, ready),
            pool=Pool(concurrency=settings.max_num_seqs),
        )
        last = max(record.time for _, record in store.records(spec.id))
    return result.ledger.new / (last - float(ready.read_text())), result.ledger.completion_tokens


def _stages(folder: Path, molecules: list[Molecule], spec: Spec, prompt: Prompt) -> dict[str, float]:
    """Return the CPU time of each of our own steps in milliseconds a row, in one process without Ray."""
    some = molecules[:200]
    answers = [true_answer(molecule.smiles) for molecule in some]
    facts = [facts_of(molecule.mol) for molecule in some]
    checked = [validate(answer, "stop", prompt.json_schema, fact) for answer, fact in zip(answers, facts, strict=True)]
    with open_store(str(folder)) as store:
        rows = [Row(molecule.key, 0, number + 1) for number, molecule in enumerate(some)]
        steps: dict[str, Callable[[], object]] = {
            "parse": lambda: [parse(molecule.smiles.encode()) for molecule in some],
            "register": lambda: store.register(spec.id, "stages", rows),
            "facts": lambda: [facts_of(molecule.mol) for molecule in some],
            "depict": lambda: [draw(molecule.mol, IMAGE_SIZE) for molecule in some],
            "prompt": lambda: [
                prompt.render(task=None, smiles=molecule.smiles, graph=graph_text(molecule.mol)) for molecule in some
            ],
            "check": lambda: [
                validate(answer, "stop", prompt.json_schema, fact) for answer, fact in zip(answers, facts, strict=True)
            ],
            "commit": lambda: _commit(store, spec, some, answers, [each.grounding for each in checked]),
        }
        return {name: round(_cpu_ms(step) / len(some), 3) for name, step in steps.items()}


def _cpu_ms(step: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        started = time.process_time()
        step()
        times.append(time.process_time() - started)
    return statistics.median(times) * 1e3


def _commit(store: Store, spec: Spec, molecules: list[Molecule], answers: list[str], groundings: list[Any]) -> None:
    outcomes = [
        (
            molecule.key,
            Record(
                smiles=molecule.smiles,
                text=answer,
                finish_reason="stop",
                prompt_tokens=500,
                completion_tokens=100,
                grounding=grounding,
                attempts=1,
                seed=0,
                temperature=0.0,
                max_tokens=400,
                seconds=1.0,
                run="stages",
                software="benchmark",
                time=time.time(),
            ),
        )
        for molecule, answer, grounding in zip(molecules, answers, groundings, strict=True)
    ]
    for start in range(0, len(outcomes), 8):
        store.commit(spec.id, "stages", outcomes[start : start + 8], [(500, 100)] * len(outcomes[start : start + 8]))


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stderr)
    table = Table("", "rows/s (median)", title=f"{result['rows']} rows, {os.cpu_count()} cores")
    for name, value in result["rows_per_second"].items():
        table.add_row(name, f"{value:.1f}")
    table.add_row("ratio", f"{result['ratio']:.3f}")
    console.print(table)
    table = Table("step", "CPU ms a row")
    for name, value in result["stage_cpu_ms_per_row"].items():
        table.add_row(name, f"{value:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
