"""A stub of vLLM's engine process, behind vLLM's real frontend: it answers every request with ready tokens, at once.

What the frontend costs (template, tokens, pictures, messages, text) can be measured with it, without a model's cost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock


@dataclass
class StubCore:
    """What `AsyncLLM` takes for its client of an engine process: each step gives each request one more token.

    Attributes:
        answer: the tokens of every answer; the last one ends it.
        own_seconds: CPU time of what a real engine's process would have done.
    """

    answer: Sequence[int]
    own_seconds: float = 0.0
    engine_ranks_managed: list[int] = field(default_factory=lambda: [0])
    resources: Any = field(default_factory=lambda: SimpleNamespace(engine_dead=False))

    def __post_init__(self) -> None:
        from vllm.v1.engine import EngineCoreOutputs
        from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder

        self._encoder, self._decoder = MsgpackEncoder(), MsgpackDecoder(EngineCoreOutputs)
        self._written: dict[str, int] = {}
        self._asked: asyncio.Event | None = None

    async def add_request_async(self, request: Any) -> None:
        """Take a request, after what it costs to send it."""
        self._encoder.encode(request)
        self._written[request.request_id] = 0
        self._waiting().set()

    async def get_output_async(self) -> Any:
        """Return the next step's tokens, after what it costs to receive them."""
        if not self._written:
            self._waiting().clear()
            await self._waiting().wait()
        await asyncio.sleep(0.005)  # in which a model would compute, and requests are taken
        began = time.thread_time()
        sent = self._encoder.encode(self._step())
        self.own_seconds += time.thread_time() - began
        return self._decoder.decode(sent)

    async def abort_requests_async(self, request_ids: Sequence[str]) -> None:
        """Forget requests."""
        for request_id in request_ids:
            self._written.pop(request_id, None)

    async def get_supported_tasks_async(self) -> tuple[str, ...]:
        """Say what can be asked for."""
        return ("generate",)

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop, of which nothing is to be done."""

    def _waiting(self) -> asyncio.Event:
        if self._asked is None:
            self._asked = asyncio.Event()
        return self._asked

    def _step(self) -> Any:
        from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason
        from vllm.v1.metrics.stats import SchedulerStats

        outputs = []
        for request_id, written in list(self._written.items()):
            ends = written + 1 == len(self.answer)
            reason = FinishReason.STOP if ends else None
            outputs.append(EngineCoreOutput(request_id, [self.answer[written]], finish_reason=reason))
            if ends:
                del self._written[request_id]
            else:
                self._written[request_id] = written + 1
        return EngineCoreOutputs(outputs=outputs, scheduler_stats=SchedulerStats())


@contextmanager
def stubbed(core: StubCore) -> Iterator[None]:
    """Let engines that start meanwhile be served by `core` instead of a process with a model."""
    from vllm.v1.engine.core_client import EngineCoreClient

    with mock.patch.object(EngineCoreClient, "make_async_mp_client", lambda **_: core):
        yield
