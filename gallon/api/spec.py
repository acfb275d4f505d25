"""From settings to a spec, and to how an engine runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import ValidationError

from cluster.service.access import holds_password
from gallon.config import ServingConfig, SpecConfig
from teacher.chemistry.depiction import check_drawing
from teacher.errors import UsageError
from teacher.llm.adapter import AdapterFiles, identify_adapter
from teacher.llm.engines.endpoint import KEY_VARIABLES, UNPROVEN, EndpointSettings
from teacher.llm.engines.installed_vllm import known_parsers
from teacher.llm.engines.vllm_arguments import EngineSettings, deciding, parse_engine_arguments
from teacher.llm.models import TINY, identify, local_path, read_config
from teacher.llm.prompt import Prompt, load, task_text
from teacher.llm.request import turns_before
from teacher.llm.spec import Keep, Model, PromptRef, Samples, Sampling, Spec
from teacher.llm.thinking import OWN_WORDS, Thinking, parse_thinking, parser_for

TINY_IMAGE_SIZE = 224  # what its vision tower sees
# GALLON (arXiv 2406.01032) draws 500 pixels; 448, a multiple of 28, is not resized by Qwen-VL: 256 tokens, not 324.
IMAGE_SIZE = 448
SHARE_OF_TIME = 0.9  # of a request's: a server that hangs costs requests, not what is taken for a dead engine

OF_ENGINES = (  # settings that no server is told
    "renderers",
    "max_model_len",
    "gpu_memory",
    "kv_cache_gib",
    "tensor_parallel",
    "pipeline_parallel",
    "load_format",
    "trust_remote_code",
    "wait_for_gpus",
)


@dataclass(frozen=True, slots=True)
class ResolvedSpec:
    """A spec, and how it is served.

    Attributes:
        spec: what decides the annotations.
        prompt: that the spec refers to.
        weights: where those of its model are.
        arguments: vLLM's engine arguments.
        endpoint: URL of the server that has the model; None for engines of our own.
        adapter: where the files of its adapter are; None for the model alone.
        allowed_columns: those that the prompt shows and the user says are no labels.
    """

    spec: Spec
    prompt: Prompt
    weights: str
    arguments: Mapping[str, Any]
    endpoint: str | None = None
    adapter: AdapterFiles | None = None
    allowed_columns: tuple[str, ...] = ()


def resolve_spec(config: SpecConfig, *, engine: ServingConfig | None = None, claimed: bool = False) -> ResolvedSpec:
    """Make the spec that the settings describe.

    Args:
        config: the settings.
        engine: how engines run, where some are to be started; a server takes none of it.
        claimed: whether somebody else has the model, so that nobody proves which it is; a server always does.

    Raises:
        UsageError: the settings contradict one another, or name what does not exist; pictures cannot be drawn here.
    """
    if config.keep not in get_args(Keep):  # though it decides nothing where there is one answer
        raise UsageError(
            f"--keep says what is kept of several samples, {', '.join(get_args(Keep))}, not '{config.keep}': columns "
            "of a library are chosen by --keep-columns."
        )
    if config.keep != SpecConfig.keep and config.samples == 1:
        raise UsageError("--keep chooses among several samples: give --samples and --temperature.")
    if engine is not None and config.endpoint is not None:
        _refuse_engine_settings(engine)
    prompt = load(config.prompt)
    if prompt.needs_task != (config.task is not None):
        need = "needs a question: give --task" if prompt.needs_task else "takes no question: leave out --task"
        raise UsageError(f"The prompt '{prompt.name}' {need}.")
    if config.facts and prompt.facts is None:
        raise UsageError(
            f"The prompt '{prompt.name}' has no line 'facts' for --facts: use describe-with-facts, or add it."
        )
    allowed = config.allow_column or ()
    if unknown := next((column for column in allowed if column not in prompt.row_columns), None):
        raise UsageError(f"The prompt '{prompt.name}' shows no column '{unknown}' for --allow-column: leave it out.")
    if config.image:
        check_drawing()
    image_size = config.image_size or (TINY_IMAGE_SIZE if config.model == TINY else IMAGE_SIZE)
    found = _claimed(config) if claimed or config.endpoint else identify(config.model, config.revision)
    arguments = parse_engine_arguments(config.engine_arg or ())
    thinking = _thinking(config, found)
    adapter, files = identify_adapter(config.adapter) if config.adapter else (None, None)
    try:
        spec = Spec(
            model=Model(
                name=found.name,
                revision=found.revision,
                dtype=found.dtype if config.dtype == "auto" else config.dtype,  # type: ignore[arg-type]
                quantization=config.quantization,
            ),
            prompt=PromptRef.of(prompt),
            task=task_text(config.task) if config.task else config.task,
            smiles=config.smiles,
            image_size=image_size if config.image else None,
            graph=config.model != TINY if config.graph is None else config.graph,
            sampling=Sampling(
                temperature=config.temperature,
                top_p=config.top_p,
                max_tokens=config.max_tokens or prompt.max_tokens,
                seed=config.seed,
            ),
            structured=config.structured and prompt.json_schema is not None,
            min_grounding=config.min_grounding,
            arguments=deciding(arguments),
            thinking=thinking,
            adapter=adapter,
            facts=prompt.facts is not None if config.facts is None else config.facts,
            columns=prompt.row_columns,
            samples=Samples(number=config.samples, keep=config.keep) if config.samples > 1 else None,  # type: ignore[arg-type]
        )
    except ValidationError as error:
        raise UsageError(f"Invalid options: {error.errors()[0]['msg']}.") from None
    return ResolvedSpec(spec, prompt, local_path(config.model), arguments, config.endpoint, files, allowed)


def _claimed(config: SpecConfig) -> Model:
    """Return the model that a server says it has; which weights those are nobody proves.

    Raises:
        UsageError: the address is none or holds a password, its key cannot be sent, or what is given is for an engine
            of our own.
    """
    if config.endpoint is not None and holds_password(config.endpoint):  # before a message, or a run, repeats it
        raise UsageError(
            f"--endpoint holds a password: put the key into {KEY_VARIABLES[0]} and leave it out of the URL."
        )
    if config.endpoint is not None and not _is_url(config.endpoint):
        raise UsageError(f"--endpoint {config.endpoint} is no URL, as http://127.0.0.1:8000/v1: correct it.")
    if config.endpoint is not None:
        _endpoint_key()  # one that cannot be sent is told before anything starts
    if config.engine_arg:
        raise UsageError("A server has its own engine arguments, and so has a provider: leave out --engine-arg.")
    if config.adapter:
        raise UsageError(
            "A server has its own adapters: leave out --adapter, and give as --model the name by which it serves one."
        )
    if config.quantization is not None or config.dtype != SpecConfig.dtype:
        raise UsageError("A server has loaded its model in its own way: leave out --quantization and --dtype.")
    if config.reasoning_parser:
        raise UsageError("A server has its own reasoning parser: leave out --reasoning-parser or --endpoint.")
    return Model(name=config.model, revision=":".join(filter(None, (UNPROVEN, config.revision))))


def _refuse_engine_settings(engine: ServingConfig) -> None:
    """Refuse what is said of an engine where a server has one.

    Raises:
        UsageError: something is.
    """
    defaults = type(engine)()
    if given := next((name for name in OF_ENGINES if getattr(engine, name) != getattr(defaults, name)), None):
        raise UsageError(f"A server runs its engine as it likes: leave out --{given.replace('_', '-')} or --endpoint.")


def _is_url(text: str) -> bool:
    """Tell whether a text names a server of HTTP."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket without its other half
        return False


def _thinking(config: SpecConfig, model: Model) -> Thinking | None:
    """Return how the model is to think, with the parser that knows its thoughts.

    Raises:
        UsageError: there is no such parser, or none is known for the model.
    """
    wanted = parse_thinking(config.thinking) if config.thinking is not None else None
    parser = config.reasoning_parser
    if wanted is None or not wanted.on:
        if parser:
            raise UsageError("--reasoning-parser is for a model that thinks: give --thinking on as well.")
        return wanted and _silent(wanted, config, model)
    if config.endpoint:
        return wanted
    parser = parser or parser_for(read_config(config.model, model.revision))
    if parser is None:
        raise UsageError(
            f"It is not known how {model.name} marks its thoughts: give one of vLLM's parsers as --reasoning-parser, "
            "e.g. deepseek_r1 for <think> and </think>, or leave out --thinking."
        )
    if parser not in known_parsers():
        raise UsageError(
            f"vLLM has no reasoning parser '{parser}': choose one of {', '.join(sorted(known_parsers()))}."
        )
    return wanted.model_copy(update={"parser": parser})


def _silent(off: Thinking, config: SpecConfig, model: Model) -> Thinking:
    """Return how the model is told not to think, with the parser of a family that has a word of its own for it.

    What a server takes is not known: it is told what all are.
    """
    if model.revision.startswith(UNPROVEN):
        return off
    parser = parser_for(read_config(config.model, model.revision))
    return off.model_copy(update={"parser": parser}) if parser in OWN_WORDS else off


def engine_settings(
    config: ServingConfig, resolved: ResolvedSpec, *, cpu_threads: int | None, concurrency: int, renderers: int = 0
) -> EngineSettings:
    """Return how vLLM is to run the model.

    Args:
        config: the user's settings.
        resolved: what is served.
        cpu_threads: threads that compute on a CPU; None leaves it to the environment.
        concurrency: requests computed at the same time, where the user sets none.
        renderers: processes that make prompts, where the user does not say.
    """
    return EngineSettings(
        max_model_len=config.max_model_len,
        max_num_seqs=config.concurrency or concurrency,
        gpu_memory_utilization=config.gpu_memory,
        kv_cache_bytes=round(config.kv_cache_gib * 2**30),
        renderers=renderers if config.renderers is None else config.renderers,
        cpu_threads=cpu_threads,
        tensor_parallel_size=config.tensor_parallel,
        pipeline_parallel_size=config.pipeline_parallel,
        image_size=resolved.spec.image_size,
        load_format=config.load_format,
        trust_remote_code=config.trust_remote_code,
        thinking=resolved.spec.thinking,
        adapter=resolved.adapter,
        arguments=resolved.arguments,
        before=turns_before(resolved.prompt, resolved.spec),
    )


def endpoint_settings(config: ServingConfig, resolved: ResolvedSpec, *, concurrency: int) -> EndpointSettings:
    """Return how the server is asked; its key comes out of the environment.

    Raises:
        UsageError: the key is none that can be sent.
    """
    assert resolved.endpoint is not None, "only for specs that a server serves"
    return EndpointSettings(
        url=resolved.endpoint,
        model=resolved.spec.model.name,
        key=_endpoint_key(),
        concurrency=config.concurrency or concurrency,
        seconds=SHARE_OF_TIME * config.request_minutes * 60,
        samples=resolved.spec.answers,
    )


def _endpoint_key() -> str | None:
    """Return the key of a server, as the first of its variables that is set has it; `$(cat FILE)` may end in a blank.

    Raises:
        UsageError: it is none that can be sent.
    """
    for variable in KEY_VARIABLES:
        if key := os.environ.get(variable, "").strip():
            if not (key.isascii() and key.isprintable()):
                raise UsageError(
                    f"The key in {variable} has characters that no server can be sent, as letters other than ASCII's: "
                    "copy it once more."
                )
            return key
    return None
