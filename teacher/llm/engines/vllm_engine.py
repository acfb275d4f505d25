"""A model served by vLLM's asynchronous engine, in this process.

The engine runs its own event loop in a thread of its own, so that any number of threads may submit requests and the
engine always has a full batch.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher.errors import EngineDeadError, EngineRefusedError, EngineStartError
from teacher.llm.completion import Completion, Thought
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.engines.chat_template import check_template
from teacher.llm.engines.engine_log import EngineLog
from teacher.llm.engines.event_loop import EventLoop
from teacher.llm.engines.messages import openai_part
from teacher.llm.engines.thoughts import Marks, marks_of, thought_and_answer
from teacher.llm.engines.vllm_arguments import EngineSettings, vllm_config
from teacher.llm.prompt import Picture, Turn
from teacher.llm.spec import Model
from teacher.llm.thinking import Thinking

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.outputs import CompletionOutput
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
        self._llm, self._marks = self._start(model, path, settings, stat_loggers)
        self._lora = lora_request(settings)
        self._mistral = is_mistral(self._llm.renderer)

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
            messages = [chat_messages(request, self._mistral)]
            _, (prompt,) = await self._llm.renderer.render_chat_async(messages, chat_params(request.thinking))
            answers = self._llm.generate(
                prompt,
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
        decode = functools.partial(self._llm.renderer.get_tokenizer().decode, skip_special_tokens=True)
        if self._marks is None:
            return None, decode(tokens)
        return thought_and_answer(tokens, self._marks, decode, held=held)

    def _start(
        self, model: Model, path: str, settings: EngineSettings, stat_loggers: Sequence[StatLogger]
    ) -> tuple[AsyncLLM, Marks | None]:
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
    llm, _ = await _launch(model, path, settings, stat_loggers)
    return llm


async def _launch(
    model: Model, path: str, settings: EngineSettings, stat_loggers: Sequence[StatLogger]
) -> tuple[AsyncLLM, Marks | None]:
    """Start `AsyncLLM`, and return the marks around the model's thoughts as well, if it is to think."""
    set_environment(settings)
    from vllm.v1.engine.async_llm import AsyncLLM

    config = vllm_config(model, path, settings, on_cpu=on_cpu(), one_process=_in_one_process(settings))
    params = chat_params(settings.thinking)
    check_template(config, model.name, [chat_turn(turn) for turn in settings.before], params)
    marks = marks_of(config, settings.thinking, params, model.name)
    llm = AsyncLLM.from_vllm_config(config, stat_loggers=list(stat_loggers), disable_log_stats=True)
    if lora := lora_request(settings):
        try:
            await llm.add_lora(lora)  # whatever is wrong with it is said now, and not about each molecule
        except Exception:
            llm.shutdown()
            raise
    return llm, marks


def lora_request(settings: EngineSettings) -> LoRARequest | None:
    """Return the adapter in vLLM's terms, if there is one."""
    if settings.adapter is None:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, settings.adapter.path)


def chat_params(thinking: Thinking | None = None) -> ChatParams:
    """Return how a conversation is rendered: up to where the model's own turn begins."""
    from vllm.renderers.params import ChatParams

    told = thinking.template_arguments if thinking else {}
    return ChatParams(chat_template_kwargs={"add_generation_prompt": True, **told})


def reasoning_arguments(thinking: Thinking | None) -> dict[str, Any]:
    """Return what `generate` is told of a request's thoughts: that a schema waits until they have ended."""
    if thinking is None or not thinking.on:
        return {}
    return {
        "reasoning_ended": False,
        "reasoning_parser_kwargs": {"chat_template_kwargs": thinking.template_arguments},
    }


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
        structured_outputs=StructuredOutputsParams(json=request.schema) if request.schema else None,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500].rstrip(".")
