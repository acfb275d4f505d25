"""What each change that was made for speed is worth to a served model, as gallon asks it.

    python -m tests.benchmarks.engine_changes --qwen-vl 3b [--rows 1000] [--repeats 1] [--json]  # on a GPU

One engine answers the same molecules, drawn in advance, on every side, and all are submitted at once:

- bare: `AsyncLLM`, whose prompts have been made in advance as well;
- ours: as an annotator asks;
- without renderers: prompts are made by threads of the process that asks;
- without size: pictures of 500 px, which the model's processor resizes, in place of 448 px;
- without bounds left out: the grammar counts characters and list items as the schema does;
- without decoding at the end: each token is reported, and made text at once.

Sides alternate within a repeat. What a step may compute is set when an engine starts: give the same command
`--engine-arg max_num_batched_tokens=2048` to see what vLLM's default for a server would do.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.runtime.session import ray_session
from teacher.llm import schema
from teacher.llm.engine import Request
from teacher.llm.engines import vllm_engine
from teacher.llm.engines.rendering import Renderer
from teacher.llm.engines.vllm_engine import VllmEngine
from tests.benchmarks.annotate_vs_vllm import (
    WARM_UP,
    Rates,
    Setup,
    add_setup,
    anew,
    bare,
    requests_of,
    setup_of,
    tell,
)
from tests.support.gpu_busy import GpuBusy

SIZE_BEFORE = 500  # pixels


@dataclass(frozen=True)
class Sides:
    """The sides, by what they do to one engine.

    Attributes:
        engine: that answers.
        setup: as it was started.
        requests: of the molecules, as gallon makes them.
        larger: the same with pictures of the size before.
    """

    engine: VllmEngine
    setup: Setup
    requests: list[Request]
    larger: list[Request]

    def measured(self) -> dict[str, tuple[float, float, int]]:
        """Return begin, end and completion tokens of each side; to be called again for each repeat."""
        sides = {
            "bare": self._bare,
            "ours": self._ours,
            "without renderers": self._without_renderers,
            "without size": lambda: self._asked(self.larger),
            "without bounds left out": self._with_bounds,
            "without decoding at the end": self._token_by_token,
        }
        found = {}
        for name, side in sides.items():
            found[name] = side()
            begun, ended, _ = found[name]
            print(f"{name}: {len(self.requests) / (ended - begun):.2f} rows/s", flush=True)
        return found

    def _bare(self) -> tuple[float, float, int]:
        return self.engine._loop.run(bare(self.engine._llm, self.requests))

    def _ours(self) -> tuple[float, float, int]:
        return self._asked(self.requests)

    def _without_renderers(self) -> tuple[float, float, int]:
        with _replaced(self.engine, "_rendering", Renderer(self.engine._llm.renderer)):
            return self._asked(self.requests)

    def _with_bounds(self) -> tuple[float, float, int]:
        with _replaced(schema, "UNGUIDED", ("uniqueItems",)):  # which vLLM refuses
            bounded = schema.for_grammar(self.setup.prompt.json_schema)
        return self._asked([replace(request, schema=request.schema and bounded) for request in self.requests])

    def _token_by_token(self) -> tuple[float, float, int]:
        from vllm.sampling_params import RequestOutputKind

        final_only = vllm_engine.sampling_params

        @functools.wraps(final_only)
        def cumulative(request: Request) -> Any:
            params = final_only(request)
            params.output_kind, params.detokenize, params.skip_clone = RequestOutputKind.CUMULATIVE, True, False
            return params

        with _replaced(vllm_engine, "sampling_params", cumulative):
            return self._asked(self.requests)

    def _asked(self, requests: list[Request]) -> tuple[float, float, int]:
        requests = [anew(request) for request in requests]
        begun = time.time()
        answers = [self.engine.submit(request) for request in requests]
        tokens = sum(answer.result().completion_tokens for answer in answers)
        return begun, time.time(), tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    add_setup(parser)
    arguments = parser.parse_args()
    rates: dict[str, Rates] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with ray_session(None) as session:
            setup = setup_of(arguments, folder / "model", session)
        requests = requests_of(setup, arguments.rows)
        larger = requests_of(
            replace(setup, spec=setup.spec.model_copy(update={"image_size": SIZE_BEFORE})), arguments.rows
        )
        busy = stack.enter_context(GpuBusy())
        began = time.monotonic()
        engine = VllmEngine(setup.spec.model, setup.path, setup.settings, folder / "engine.log")
        stack.callback(engine.close)
        print(f"the engine is ready after {time.monotonic() - began:.0f} s", flush=True)
        Sides(engine, setup, requests[-WARM_UP:], larger[-WARM_UP:]).measured()
        print("warm", flush=True)
        sides = Sides(engine, setup, requests, larger)
        for _ in range(arguments.repeats):
            for name, (begun, ended, tokens) in sides.measured().items():
                rates.setdefault(name, Rates()).add(len(requests), begun, ended, tokens, busy)
    tell(arguments, setup, rates)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute another value for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


if __name__ == "__main__":
    main()
