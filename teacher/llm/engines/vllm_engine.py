"""A model served by vLLM's asynchronous engine, in this process.

The engine runs its own event loop in a thread of its own, so that any number of threads may submit requests and the
engine always has a full batch.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher.errors import EngineDeadError, EngineRefusedError, EngineStartError
from teacher.llm.engine import Completion, PromptRejectedError, Request
from teacher.llm.engines.chat_template import check_template
from teacher.llm.engines.engine_log import EngineLog
from teacher.llm.engines.event_loop import EventLoop
from teacher.llm.engines.vllm_arguments import EngineSettings, vllm_config
from teacher.llm.prompt import Picture, Turn
from teacher.llm.spec import Model

if TYPE_CHECKING:
    from vllm.renderers.params import ChatParams
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM

logger = logging.getLogger(__name__)

StatLogger = Callable[..., Any]  # what makes one of vLLM's `StatLoggerBase`


class VllmEngine:
    """A model served by vLLM's `AsyncLLM`.

    Args:
        model: what to load, by Hugging Face id or local path, at which revision.
        path: the local folder to load from, where it differs from the model's name.
        settings: how to run it.
        log_path: the file that takes what vLLM's processes write.
        stat_loggers: what vLLM tells its own measurements to: classes that take its configuration and an index.

    Raises:
        EngineStartError: vLLM could not start; the message carries vLLM's own reason.
    """

    def __init__(
        self,
        model: Model,
        path: str,
        settings: EngineSettings,
        log_path: Path,
        stat_loggers: Sequence[StatLogger] = (),
    ) -> None:
        self._loop = EventLoop("vllm-engine")
        self._ids = itertools.count()
        self._log = EngineLog(log_path)
        logger.info("vLLM is to load %s (%s) from %s; its log is %s", model.name, model.revision, path, log_path)
        self._llm = self._start(model, path, settings, stat_loggers)

    def submit(self, request: Request) -> Future[Completion]:
        """Queue a request and return at once."""
        return self._loop.submit(lambda: self._complete(request))

    def close(self) -> None:
        """Fail what is unfinished, then stop vLLM's processes and the event loop."""
        # Whoever waits for an answer that a dead engine never gives is woken, while vLLM can still hear of it.
        if not self._loop.cancel():
            return
        logger.info("vLLM is closed")
        self._llm.shutdown()
        self._loop.stop()

    async def _complete(self, request: Request) -> Completion:
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        try:
            _, (prompt,) = await self._llm.renderer.render_chat_async([chat_messages(request)], chat_params())
            async for output in self._llm.generate(prompt, sampling_params(request), str(next(self._ids))):
                final = output
        except VLLMClientError as error:
            raise PromptRejectedError(str(error)) from error
        except VllmDeadError as error:
            raise EngineDeadError(f"vLLM's engine process died: {error}") from error
        answer = final.outputs[0]
        return Completion(
            text=answer.text,
            finish_reason=answer.finish_reason,
            prompt_tokens=len(final.prompt_token_ids or ()),
            completion_tokens=len(answer.token_ids),
        )

    def _start(self, model: Model, path: str, settings: EngineSettings, stat_loggers: Sequence[StatLogger]) -> AsyncLLM:
        try:
            with self._log.capture():
                return self._loop.run(launch(model, path, settings, stat_loggers))
        # Whatever stops vLLM from starting (a ValueError, a RuntimeError, an ImportError, CUDA out of memory, ...)
        # means the same to the caller: no engine, and vLLM's reason.
        except Exception as error:
            self._loop.stop()
            if isinstance(error, EngineStartError):
                raise
            # These it raises in this process while it reads the settings, before it has started anything.
            refused = isinstance(error, ValueError | TypeError | ImportError)
            reason = (not refused and self._log.reason()) or str(error) or type(error).__name__
            raise (EngineRefusedError if refused else EngineStartError)(
                f"vLLM could not start {model.name}: {_one_line(reason)} (its log: {self._log.path})"
            ) from error


def set_environment(settings: EngineSettings) -> None:
    """Set what vLLM reads from the environment; to be called before it is first imported."""
    # A model is data: nothing of what vLLM reports leaves the machine.
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # standard output is for results
    # Several processes share a small machine's cores: binding threads to cores makes them wait for one another.
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    if settings.cpu_threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(settings.cpu_threads)
    if _in_one_process(settings):
        # The engine is a process of its own all the same; this lets the model run inside it rather than in a third one,
        # which took twice the CPU time.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"


def on_cpu() -> bool:
    """Tell whether the vLLM that is installed here runs on the CPU."""
    try:
        importlib.metadata.distribution("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _in_one_process(settings: EngineSettings) -> bool:
    return on_cpu() and settings.gpus == 1


async def launch(
    model: Model, path: str, settings: EngineSettings, stat_loggers: Sequence[StatLogger] = ()
) -> AsyncLLM:
    """Start `AsyncLLM` inside the running event loop, which it is then bound to.

    Raises:
        EngineRefusedError: requests carry pictures and the model cannot see, or turns that its chat template does not
            take; its weights were not loaded.
    """
    set_environment(settings)
    from vllm.v1.engine.async_llm import AsyncLLM

    config = vllm_config(model, path, settings, on_cpu=on_cpu(), one_process=_in_one_process(settings))
    check_template(config, model.name, [chat_turn(turn) for turn in settings.before], chat_params())
    return AsyncLLM.from_vllm_config(config, stat_loggers=list(stat_loggers), disable_log_stats=True)


def chat_params() -> ChatParams:
    """Return how a conversation is rendered: up to where the model's own turn begins."""
    from vllm.renderers.params import ChatParams

    return ChatParams(chat_template_kwargs={"add_generation_prompt": True})


def chat_messages(request: Request) -> list[Any]:
    """Return the whole conversation of a request, its own message last."""
    return [*map(chat_turn, request.before), chat_message(request)]


def chat_turn(turn: Turn) -> Any:
    """Return an earlier turn as vLLM's chat renderer takes it."""
    return {"role": turn.role, "content": turn.text}


def chat_message(request: Request) -> Any:
    """Return the request's content as vLLM's chat renderer takes it."""
    return {"role": "user", "content": [_chat_part(part) for part in request.content]}


def _chat_part(part: str | Picture) -> dict[str, Any]:
    if isinstance(part, Picture):
        return {"type": "image_pil", "image_pil": part.image, "uuid": part.uuid}
    return {"type": "text", "text": part}


def sampling_params(request: Request) -> SamplingParams:
    """Return the request's sampling, and the schema that it is held to, in vLLM's terms."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    sampling = request.sampling
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed if sampling.temperature > 0 else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=StructuredOutputsParams(json=request.schema) if request.schema else None,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500].rstrip(".")
