"""How vLLM is started: what it is told besides the model, and why (line numbers of vLLM 0.32)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from teacher.errors import EngineRefusedError, UsageError
from teacher.llm.engines.installed_vllm import known_arguments
from teacher.llm.models import in_mistral_format

if TYPE_CHECKING:
    from vllm.config import VllmConfig

    from teacher.llm.adapter import AdapterFiles
    from teacher.llm.prompt import Turn
    from teacher.llm.spec import Model
    from teacher.llm.thinking import Thinking

# What gallon sets itself, with the setting that does it.
OWN = {
    "model": "--model",
    "revision": "--revision",
    "dtype": "--dtype",
    "quantization": "--quantization",
    "load_format": "--load-format",
    "trust_remote_code": "--trust-remote-code",
    "max_model_len": "--max-model-len",
    "max_num_seqs": "--concurrency",
    "gpu_memory_utilization": "--gpu-memory",
    "kv_cache_memory_bytes": "--kv-cache-gib",
    "tensor_parallel_size": "--tensor-parallel",
    "pipeline_parallel_size": "--pipeline-parallel",
    "limit_mm_per_prompt": "--image-size or --no-image",
    "language_model_only": "--no-image",
    "structured_outputs_config": "--structured",
    "reasoning_parser": "--reasoning-parser",
    "reasoning_config": "--thinking",
    "enable_lora": "--adapter",
    "max_lora_rank": "--adapter",
    "seed": "--seed",
    "served_model_name": "--model",
}
# What is told by a variable of the environment: as an argument it would be written into the spec, for all to read.
SECRET = {"hf_token": "HF_TOKEN"}
# What changes how fast a text is written, or where, and not which one. Everything else is taken to change the text, and
# is part of the spec: a new argument of vLLM's costs a spec of its own at worst, and never mixes two kinds of texts.
HARMLESS = frozenset(
    {
        *("async_scheduling", "block_size", "compilation_config", "cpu_offload_gb", "cudagraph_capture_sizes"),
        *("data_parallel_size", "disable_custom_all_reduce", "disable_log_stats", "distributed_executor_backend"),
        *("download_dir", "enable_chunked_prefill", "enable_expert_parallel", "enable_prefix_caching"),
        *("enforce_eager", "max_num_batched_tokens", "max_parallel_loading_workers"),
        *("mm_encoder_tp_mode", "mm_processor_cache_gb", "mm_processor_cache_type", "mm_tensor_ipc"),
        *("log_config_file", "logging_config", "master_addr", "otlp_traces_endpoint"),
        *("safetensors_load_strategy", "scheduling_policy", "skip_mm_profiling", "stream_interval"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How vLLM runs a model. What of it may decide the text, some of `arguments`, is in the spec as well (`deciding`).

    Attributes:
        max_model_len: context length in tokens; None takes as much of the model's own as memory holds.
        max_num_seqs: requests computed at the same time.
        gpu_memory_utilization: share of each GPU's memory for weights and KV cache.
        kv_cache_bytes: size of the KV cache on a CPU, where no share of a GPU decides it.
        renderers: processes that make prompts for the engine, out of template, tokens and pixels; 0 leaves it to
            threads of the process that asks the engine. With a cache of pictures, which they could not share, there are
            none.
        cpu_threads: threads that compute the model on a CPU; None leaves it to the environment.
        tensor_parallel_size: GPUs that share each layer.
        pipeline_parallel_size: GPUs (times the above) that share the layers.
        image_size: side in pixels of the picture that requests carry; None for none. A model that cannot see one is
            refused.
        load_format: vLLM's way to load weights; `dummy` makes random ones, for measurements.
        trust_remote_code: run code that comes with the model. Off unless the user asks.
        thinking: as requests want it; each may have a budget of its own.
        adapter: the LoRA that all requests are answered by; None for the model alone.
        arguments: more of vLLM's engine arguments, by name.
        before: the turns that all requests begin with. A model whose chat template does not take them is refused.
    """

    max_model_len: int | None = None
    max_num_seqs: int = 256
    gpu_memory_utilization: float = 0.9
    kv_cache_bytes: int = 1 << 30
    renderers: int = 0
    cpu_threads: int | None = None
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    image_size: int | None = 448
    load_format: str = "auto"
    trust_remote_code: bool = False
    thinking: Thinking | None = None
    adapter: AdapterFiles | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[Turn, ...] = ()

    @property
    def gpus(self) -> int:
        """GPUs that one engine takes on a machine that has some."""
        return self.tensor_parallel_size * self.pipeline_parallel_size


def parse_engine_arguments(given: Sequence[str]) -> dict[str, Any]:
    """Read engine arguments of vLLM, each NAME=JSON; a value that is not JSON is taken for text.

    Raises:
        UsageError: vLLM has no such argument, gallon sets it by an option of its own, or it is a secret.
    """
    arguments = {}
    for text in given:
        name, equals, value = text.partition("=")
        key = name.strip().removeprefix("--").replace("-", "_")
        if key in SECRET:  # before a message that shows the value
            raise UsageError(f"The engine argument {key} is a secret: put it into {SECRET[key]} in the environment.")
        if not equals:
            raise UsageError(f"The engine argument '{text}' has no value: give NAME=JSON.")
        if key in OWN:
            raise UsageError(f"The engine argument {key} is set by {OWN[key]}: use that.")
        if key not in known_arguments():
            raise UsageError(f"vLLM has no engine argument {key}.")
        try:
            arguments[key] = json.loads(value)
        except ValueError:
            arguments[key] = value
    return arguments


def deciding(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that may change which text is written."""
    return {name: value for name, value in sorted(arguments.items()) if name not in HARMLESS}


def vllm_config(model: Model, path: str, settings: EngineSettings, *, on_cpu: bool, one_process: bool) -> VllmConfig:
    """Return vLLM's configuration of a model.

    Args:
        model: what is served.
        path: the folder of its files, or its Hugging Face id.
        settings: how it runs.
        on_cpu: whether this is vLLM for CPUs.
        one_process: whether the model runs inside the engine's process.

    Raises:
        EngineRefusedError: requests carry pictures and the model reads text only, or the reasoning parser is another
            model's; its weights were not loaded.
        Exception: whatever vLLM raises for a configuration that it cannot use.
    """
    from vllm.config.structured_outputs import StructuredOutputsConfig
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    own = {
        "model": path,
        "revision": None if path != model.name else model.revision,
        "dtype": model.dtype,
        "quantization": model.quantization,
        "load_format": settings.load_format,
        "trust_remote_code": settings.trust_remote_code,
        # -1 is as much of the model's own context as memory holds: ten million tokens would not start.
        "max_model_len": settings.max_model_len or -1,
        "max_num_seqs": settings.max_num_seqs,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "kv_cache_memory_bytes": settings.kv_cache_bytes if on_cpu else None,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "pipeline_parallel_size": settings.pipeline_parallel_size,
        "limit_mm_per_prompt": _pictures(settings.image_size),
        "language_model_only": settings.image_size is None,
        # Without it string templates get the picture in front of all text, and no prefix is shared.
        "interleave_mm_strings": settings.image_size is not None,
        "distributed_executor_backend": "uni" if one_process else None,
        "enforce_eager": on_cpu,
        # After a step that computes a part of a prompt vLLM takes back the draw of a token that it does not keep, which
        # PyTorch's generators on CPUs cannot do: the engine dies (gpu_model_runner.py:3502). There prompts stay whole.
        "enable_chunked_prefill": False if on_cpu else None,
        # Every picture is seen once: keeping its features costs memory and time and saves nothing.
        "mm_processor_cache_gb": 0,
        "disable_log_stats": True,
        # With whitespace allowed between JSON tokens a weak model may write blanks until it is cut off.
        "structured_outputs_config": StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True),
        # The schema waits for the end of thoughts; it also makes vLLM know how to end them when a budget is spent.
        "reasoning_parser": _reasoning_parser(settings.thinking),
        "enable_lora": settings.adapter is not None,
    }
    if settings.adapter:
        own["max_lora_rank"] = settings.adapter.rank
    if in_mistral_format(path):
        own |= {"config_format": "mistral", "tokenizer_mode": "mistral"}
        own["load_format"] = "mistral" if settings.load_format == "auto" else settings.load_format
    # To the constructor, which makes what vLLM needs of JSON.
    arguments = AsyncEngineArgs(**{**own, **settings.arguments})
    # The context of a batch job: without one vLLM takes 2,048 tokens a step on any card (arg_utils.py:2919).
    try:
        config = arguments.create_engine_config(UsageContext.LLM_CLASS)
    except (KeyError, RuntimeError) as error:  # a parser that is not there, or whose marks the model does not know
        if not own["reasoning_parser"]:
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise EngineRefusedError(
            f"vLLM's reasoning parser {own['reasoning_parser']} does not fit {model.name} ({reason}): give another "
            "--reasoning-parser."
        ) from error
    if settings.image_size is not None and not config.model_config.is_multimodal_model:
        raise EngineRefusedError(f"{model.name} reads text only: give --no-image, or choose a model that sees.")
    return config


def caches_pictures(config: VllmConfig) -> bool:
    """Tell whether the process that makes prompts remembers what it has sent to the engine."""
    multimodal = config.model_config.multimodal_config
    return multimodal is not None and multimodal.mm_processor_cache_gb > 0


def _reasoning_parser(thinking: Thinking | None) -> str:
    """Return the parser of a model that thinks, or none: with one the schema waits for an end that may never come."""
    return (thinking.parser if thinking and thinking.on else None) or ""


def _pictures(size: int | None) -> dict[str, Any]:
    """Return what a request carries: a picture of this size, if any; unsaid, Qwen-VL would profile a long video."""
    if size is None:
        return {}
    return {"image": {"count": 1, "width": size, "height": size}, "video": 0, "audio": 0}
