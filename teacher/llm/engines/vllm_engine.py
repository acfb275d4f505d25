"""A model served by vLLM's asynchronous engine, in this process.

The engine runs its own event loop in a thread of its own, so that any number of threads may submit requests and the
engine always has a full batch.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher.errors import EngineDeadError, EngineRefusedError, EngineStartError
from teacher.llm.completion import Completion, Thought
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.engines.chat_template import check_template
from teacher.llm.engines.engine_log import EngineLog
from teacher.llm.engines.event_loop import EventLoop
from teacher.llm.engines.rendering import Renderer, RendererPool, Rendering, chat_params, chat_turn
from teacher.llm.engines.thoughts import Marks, marks_of, thought_and_answer, unmarked_text
from teacher.llm.engines.vllm_arguments import EngineSettings, caches_pictures, vllm_config
from teacher.llm.spec import Model
from teacher.llm.thinking import Thinking

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.outputs import CompletionOutput
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
        self._llm, self._marks, self._rendering = self._start(model, path, settings, stat_loggers)
        self._lora = lora_request(settings)

    def submit(self, request: Request) -> Future[Completion]:
        """Queue a request and return at once."""
        return self._loop.submit(lambda: self._complete(request))

    def close(self) -> None:
        """Fail what is unfinished, then stop vLLM's processes and the event loop."""
        # Whoever waits for an answer that a dead engine never gives is woken, while vLLM can still hear of it.
        if not self._loop.cancel():
            return
        logger.info("vLLM is closed")
        self._rendering.close()
        self._llm.shutdown()
        self._loop.stop()

    async def _complete(self, request: Request) -> Completion:
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        try:
            answers = self._llm.generate(
                await self._rendering.render(request),
                sampling_params(request),
                str(next(self._ids)),
                lora_request=self._lora,
                **reasoning_arguments(request.thinking),
            )
            async for output in answers:
                final = output
        except VLLMClientError as error:
            raise PromptRejectedError(str(error)) from error
        except VllmDeadError as error:
            raise EngineDeadError(f"vLLM's engine process died: {error}") from error
        first, *others = (self._completion(answer, held=request.schema is not None) for answer in final.outputs)
        return replace(first, prompt_tokens=len(final.prompt_token_ids or ()), others=tuple(others))

    def _completion(self, answer: CompletionOutput, *, held: bool) -> Completion:
        thought, text = self._told_apart(answer, held=held)
        return Completion(text, answer.finish_reason, 0, len(answer.token_ids), thought)

    def _told_apart(self, answer: CompletionOutput, *, held: bool) -> tuple[Thought | None, str]:
        """Return what the model thought, and its answer; `held` tells that a schema holds for the answer.

        They are decoded all at once: decoding token by token costs the frontend ten times as much.
        """
        tokens = list(answer.token_ids)
        if answer.finish_reason == "stop":
            tokens.pop()  # the one that ended it
        decode = self._llm.renderer.get_tokenizer().decode
        if self._marks is None:
            return None, unmarked_text(tokens, decode)
        return thought_and_answer(tokens, self._marks, functools.partial(decode, skip_special_tokens=True), held=held)

    def _start(
        self, model: Model, path: str, settings: EngineSettings, stat_loggers: Sequence[StatLogger]
    ) -> tuple[AsyncLLM, Marks | None, Rendering]:
        try:
            with self._log.capture():
                return self._loop.run(_launch(model, path, settings, stat_loggers))
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
            take, or it thinks and nobody asked, or the other way round; its weights were not loaded.
    """
    llm, _, _ = await _launch(model, path, replace(settings, renderers=0), stat_loggers)
    return llm


async def _launch(
    model: Model, path: str, settings: EngineSettings, stat_loggers: Sequence[StatLogger]
) -> tuple[AsyncLLM, Marks | None, Rendering]:
    """Start `AsyncLLM`; return it, the marks around the model's thoughts, if it is to think, and what makes prompts."""
    set_environment(settings)
    from vllm.v1.engine.async_llm import AsyncLLM

    config = vllm_config(model, path, settings, on_cpu=on_cpu(), one_process=_in_one_process(settings))
    params = chat_params(settings.thinking)
    check_template(config, model.name, [chat_turn(turn) for turn in settings.before], params)
    marks = marks_of(config, settings.thinking, params, model.name)
    with ExitStack() as undo:  # of what has started when the rest does not
        pool = None
        if settings.renderers and not caches_pictures(config):
            pool = RendererPool(settings.renderers, model, path, settings, on_cpu=on_cpu())
            undo.callback(pool.close)
        llm = AsyncLLM.from_vllm_config(config, stat_loggers=list(stat_loggers), disable_log_stats=True)
        undo.callback(llm.shutdown)
        if lora := lora_request(settings):
            await _add_adapter(llm, lora)
        if pool:
            pool.wait()
        undo.pop_all()
    return llm, marks, pool or Renderer(llm.renderer)


async def _add_adapter(llm: AsyncLLM, lora: LoRARequest) -> None:
    """Load an adapter: whatever is wrong with it is said now, and not about each molecule.

    Raises:
        EngineRefusedError: vLLM does not take it, and would not the next time.
    """
    from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

    try:
        await llm.add_lora(lora)
    except VllmDeadError:
        raise
    # vLLM hands on whatever its engine's process raised as a plain Exception with the words of it.
    except Exception as error:
        reason = _one_line(str(error) or type(error).__name__)
        raise EngineRefusedError(f"vLLM does not serve the adapter in {lora.lora_path}: {reason}.") from error


def lora_request(settings: EngineSettings) -> LoRARequest | None:
    """Return the adapter in vLLM's terms, if there is one."""
    if settings.adapter is None:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, settings.adapter.path)


def reasoning_arguments(thinking: Thinking | None) -> dict[str, Any]:
    """Return what `generate` is told of a request's thoughts: that a schema waits until they have ended."""
    if thinking is None or not thinking.on:
        return {}
    return {
        "reasoning_ended": False,
        "reasoning_parser_kwargs": {"chat_template_kwargs": thinking.template_arguments},
    }


def sampling_params(request: Request) -> SamplingParams:
    """Return the request's sampling, and the schema that it is held to, in vLLM's terms."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    sampling = request.sampling
    return SamplingParams(
        n=request.samples,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=request.max_tokens,
        thinking_token_budget=request.thinking.budget if request.thinking else None,
        seed=sampling.seed if sampling.temperature > 0 else None,
        output_kind=RequestOutputKind.FINAL_ONLY,
        detokenize=False,  # that is done once, at the end
        # vLLM copies what a request asks for, schema and all, unless it is told that nobody else has it.
        structured_outputs=StructuredOutputsParams(json=json.dumps(request.schema)) if request.schema else None,
        skip_clone=True,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500].rstrip(".")
