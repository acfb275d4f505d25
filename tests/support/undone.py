"""How annotation was before each of the changes that keep a GPU busy, to measure what they are worth."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from teacher.llm.completion import Completion
from teacher.llm.engine import Engine, Request
from teacher.llm.engines import vllm_engine
from teacher.llm.prompt import Prompt


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change, by what undoes it.

    Attributes:
        image_size: side in pixels of the pictures before it, if that was another.
        renderers: processes that made prompts before it, if those were others.
        engine_arguments: of vLLM before it, by name.
        around: undoes it around an engine that has started, whose requests are made by a prompt.
    """

    image_size: int | None = None
    renderers: int | None = None
    engine_arguments: Mapping[str, Any] = field(default_factory=dict)
    around: Callable[[Engine, Prompt], Engine] = lambda engine, _: engine


@dataclass
class Bounded:
    """The engine masks tokens by a schema that bounds the lengths of strings."""

    engine: Engine
    schema: Any

    def submit(self, request: Request) -> Future[Completion]:
        return self.engine.submit(replace(request, schema=self.schema if request.schema else None))

    def close(self) -> None:
        self.engine.close()


def _with_bounds(engine: Engine, prompt: Prompt) -> Engine:
    return Bounded(engine, _without_unique_items(prompt.json_schema))


def _without_unique_items(schema: Any) -> Any:
    """Return what vLLM does not refuse."""
    if isinstance(schema, list):
        return [_without_unique_items(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {name: _without_unique_items(each) for name, each in schema.items() if name != "uniqueItems"}


def _token_by_token(engine: Engine, _: Prompt) -> Engine:
    """Let this process hear of each token, and make text of it at once."""
    from vllm.sampling_params import RequestOutputKind

    final_only = vllm_engine.sampling_params

    @functools.wraps(final_only)
    def cumulative(request: Request) -> Any:
        params = final_only(request)
        params.output_kind, params.detokenize, params.skip_clone = RequestOutputKind.CUMULATIVE, True, False
        return params

    vllm_engine.sampling_params = cumulative
    return engine


CHANGES = {
    "renderers": Change(renderers=0),
    "size": Change(image_size=500),
    "bounds": Change(around=_with_bounds),
    "step": Change(engine_arguments={"max_num_batched_tokens": 2048}),
    "decoding": Change(around=_token_by_token),
}
