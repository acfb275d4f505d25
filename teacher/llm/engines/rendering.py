"""A request becomes what the engine computes: template, tokens and pixels, in this process or in others beside it.

What vLLM and Hugging Face's processors do for a request with a picture of 448 px took 15 ms of CPU with Qwen2.5-VL's
processor, most of it under Python's lock: one process fed an H200 42 molecules/s, and left it idle a fifth of the time.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Protocol

from teacher.errors import EngineDeadError, EngineStartError
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.engines.messages import openai_part
from teacher.llm.engines.vllm_arguments import EngineSettings, vllm_config
from teacher.llm.prompt import Picture, Turn
from teacher.llm.spec import Model
from teacher.llm.thinking import Thinking
from teacher.processes import leave_interrupts

if TYPE_CHECKING:
    import torch
    from vllm.renderers.params import ChatParams

# Some templates, as Llama's, write today's date unless they are told one: a spec would have another prompt each day.
DATE = "26 Jul 2024"  # what Llama 3.1 writes by itself

_render_here: Renderer | None = None  # of a process that renders for another


class RenderingError(RuntimeError):
    """What was not foreseen about one request; the message has the type of the original error."""


class Rendering(Protocol):
    """What turns requests into prompts."""

    async def render(self, request: Request) -> Any:
        """Return the request as vLLM's engine takes it.

        Raises:
            PromptRejectedError: it is longer than the model's context, say.
            EngineDeadError: nothing can be rendered any more.
        """
        ...

    def close(self) -> None:
        """End what was started."""
        ...


class Renderer:
    """Renders in this process, by vLLM's own threads.

    Args:
        renderer: vLLM's, of a model.
    """

    def __init__(self, renderer: Any) -> None:
        self._renderer = renderer
        self._mistral = is_mistral(renderer)

    async def render(self, request: Request) -> Any:
        """Return the request as vLLM's engine takes it."""
        _, (prompt,) = await self._renderer.render_chat_async(*self._arguments(request))
        return prompt

    def render_now(self, request: Request) -> Any:
        """Return the same, without an event loop."""
        _, (prompt,) = self._renderer.render_chat(*self._arguments(request))
        return prompt

    def close(self) -> None:
        """Do nothing: vLLM's renderer ends with its engine."""

    def _arguments(self, request: Request) -> tuple[list[list[Any]], ChatParams]:
        return [chat_messages(request, self._mistral)], chat_params(request.thinking)


class RendererPool:
    """Renders in processes of its own, which have begun to start.

    Args:
        processes: how many.
        model: whose template, tokenizer and picture processor they load.
        path: the folder of its files, or its Hugging Face id.
        settings: of the engine.
        on_cpu: whether this is vLLM for CPUs.
    """

    def __init__(self, processes: int, model: Model, path: str, settings: EngineSettings, *, on_cpu: bool) -> None:
        self._pool = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(model, path, settings, on_cpu),
        )
        self._started = [self._pool.submit(os.getpid) for _ in range(processes)]

    def wait(self) -> None:
        """Wait until one of the processes at least can render.

        Raises:
            EngineStartError: they end before they can.
        """
        try:
            self._started[0].result()
        except BrokenProcessPool as error:
            raise EngineStartError(f"the processes that make prompts for vLLM do not start: {error}") from error

    async def render(self, request: Request) -> Any:
        """Return the request as vLLM's engine takes it."""
        try:
            rendered = await asyncio.wrap_future(self._pool.submit(_render, request))
        except BrokenProcessPool as error:
            raise EngineDeadError(f"a process that made prompts for vLLM died: {error}") from error
        return pickle.loads(rendered)

    def close(self) -> None:
        """End the processes, whatever they do."""
        # Of its own accord a pool waits for what it works on; `kill_workers` comes with Python 3.14.
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()


def _begin(model: Model, path: str, settings: EngineSettings, on_cpu: bool) -> None:
    """Load what renders; the process ends with the one that started it."""
    global _render_here  # noqa: PLW0603 (a process of a pool keeps what its initializer made)
    leave_interrupts()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"  # there are as many processes as cores for them
    from vllm.renderers import renderer_from_config

    config = vllm_config(model, path, settings, on_cpu=on_cpu, one_process=True)
    _render_here = Renderer(renderer_from_config(config))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a process of a pool only"
    parent.join()
    os._exit(1)


def _render(request: Request) -> bytes:
    """Render in a process of the pool, to bytes: tensors would travel by files of shared memory, two for a request."""
    from vllm.exceptions import VLLMClientError

    assert _render_here is not None, "set by the initializer"
    try:
        return _pickled(_render_here.render_now(request))
    except VLLMClientError as error:
        raise PromptRejectedError(str(error)) from None
    except Exception as error:  # noqa: BLE001 (one that cannot travel would end the pool, with all others' requests)
        raise RenderingError(f"{type(error).__name__}: {error}") from None


class _PromptPickler(pickle.Pickler):
    """Writes tensors as their bytes: to read the three of a prompt took 2.6 ms of CPU by PyTorch's own way."""

    def reducer_override(self, value: Any) -> Any:
        import torch

        if not isinstance(value, torch.Tensor):
            return NotImplemented
        data = bytearray(value.reshape(-1).view(torch.uint8).numpy())
        return _tensor, (data, value.dtype, tuple(value.shape))


def _tensor(data: bytearray, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    import torch

    return torch.frombuffer(data, dtype=dtype).view(shape)


def _pickled(prompt: Any) -> bytes:
    written = io.BytesIO()
    _PromptPickler(written, pickle.HIGHEST_PROTOCOL).dump(prompt)
    return written.getvalue()


def chat_params(thinking: Thinking | None = None) -> ChatParams:
    """Return how a conversation is rendered: up to where the model's own turn begins."""
    from vllm.renderers.params import ChatParams

    told = thinking.template_arguments if thinking else {}
    return ChatParams(chat_template_kwargs={"add_generation_prompt": True, "date_string": DATE, **told})


def is_mistral(renderer: Any) -> bool:
    """Tell whether messages go to mistral-common as they are, which knows OpenAI's parts only."""
    return bool(getattr(renderer.tokenizer, "IS_MISTRAL_TOKENIZER", False))


def chat_messages(request: Request, mistral: bool = False) -> list[Any]:
    """Return the whole conversation of a request, its own message last."""
    return [*map(chat_turn, request.before), chat_message(request, mistral)]


def chat_turn(turn: Turn) -> Any:
    """Return an earlier turn as vLLM's chat renderer takes it."""
    return {"role": turn.role, "content": turn.text}


def chat_message(request: Request, mistral: bool = False) -> Any:
    """Return the request's content as vLLM's chat renderer takes it, or, with one of Mistral's, mistral-common."""
    part = openai_part if mistral else _chat_part
    return {"role": "user", "content": [part(each) for each in request.content]}


def _chat_part(part: str | Picture) -> dict[str, Any]:
    if isinstance(part, Picture):
        return {"type": "image_pil", "image_pil": part.image, "uuid": part.uuid}
    return {"type": "text", "text": part}
