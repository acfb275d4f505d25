"""The settings of annotation: what decides it, how engines run, and how the service is offered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gallon.config.setting import RAY, Config, Setting


@dataclass(frozen=True, kw_only=True)
class SpecConfig(Config):
    """What decides an annotation: the model, the prompt, what the model sees of a molecule, and the sampling."""

    panel = "Spec"

    model: Annotated[str, Setting(help="'tiny', a Hugging Face id, or the folder of a checkpoint.")] = "tiny"
    revision: Annotated[str | None, Setting(help="Branch, tag or commit of a Hugging Face model.")] = None
    dtype: Annotated[str, Setting(help="auto, bfloat16, float16 or float32.")] = "auto"
    quantization: Annotated[str | None, Setting(help="A quantization that vLLM knows, e.g. fp8.")] = None
    adapter: Annotated[str | None, Setting(help="Folder of a LoRA adapter of the model.")] = None
    thinking: Annotated[
        str | None,
        Setting(
            help="Whether the model thinks before it answers: on, off, or the tokens after which its thoughts are "
            "ended; default: as its chat template has it."
        ),
    ] = None
    reasoning_parser: Annotated[
        str | None,
        Setting(help="vLLM's parser of the model's thoughts, e.g. deepseek_r1; default: that of the model's family."),
    ] = None
    prompt: Annotated[str, Setting(help="A prompt that ships with gallon (`gallon prompt list`), or a file.")] = (
        "describe"
    )
    task: Annotated[
        str | None,
        Setting(
            help="The question, for a prompt that takes one, or the name of one, e.g. esol (`gallon prompt list`)."
        ),
    ] = None
    smiles: Annotated[bool, Setting(help="Show the model the SMILES.")] = True
    image: Annotated[bool, Setting(help="Show the model the drawn structure.")] = True
    image_size: Annotated[int | None, Setting(min=32, max=2048, help="Side of the drawing in pixels.")] = None
    graph: Annotated[
        bool | None,
        Setting(help="Show the model the bonds as text; default: yes, except for the tiny model."),
    ] = None
    facts: Annotated[
        bool | None,
        Setting(
            help="Show the model what RDKit computes: formula, groups, rings, logP; default: if the prompt has a line "
            "for it."
        ),
    ] = None
    temperature: Annotated[float, Setting(min=0.0, max=2.0, help="0 is greedy.")] = 0.0
    top_p: Annotated[float, Setting(min=0.01, max=1.0, help="Nucleus sampling.")] = 1.0
    max_tokens: Annotated[int | None, Setting(min=1, help="Longest answer; default: the prompt's.")] = None
    seed: Annotated[int, Setting(help="Seed of the sampling.")] = 0
    samples: Annotated[
        int,
        Setting(min=1, max=64, help="Answers drawn for each molecule, in one request; needs --temperature."),
    ] = 1
    keep: Annotated[
        str,
        Setting(
            help="Of several samples: best (agrees most with RDKit), vote (what most say, field by field), all (the "
            "best, and the others beside it)."
        ),
    ] = "best"
    structured: Annotated[bool, Setting(help="Constrain the answer to the prompt's schema while it is generated.")] = (
        True
    )
    min_grounding: Annotated[
        float,
        Setting(
            min=0.0, max=1.0, help="Reject answers whose functional groups and rings agree less than this with RDKit."
        ),
    ] = 0.0
    endpoint: Annotated[
        str | None,
        Setting(
            help="URL of an OpenAI-compatible server that has the model, e.g. http://10.0.0.5:8000/v1; its key is read "
            "from GALLON_ENDPOINT_KEY. No engine is started."
        ),
    ] = None
    allow_column: Annotated[
        tuple[str, ...] | None,
        Setting(help="A column that the prompt shows though it looks like a label; may be repeated."),
    ] = None
    engine_arg: Annotated[
        tuple[str, ...] | None,
        Setting(help="One of vLLM's engine arguments, NAME=JSON, e.g. max_num_batched_tokens=16384; may be repeated."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class BatchConfig(Config):
    """What goes into the files of requests for a provider's batch API; the limits are OpenAI's."""

    panel = "Batch"

    max_requests: Annotated[int, Setting(min=1, help="Requests in one file.")] = 50_000
    max_bytes: Annotated[int, Setting(min=1, help="Size of one file.")] = 200_000_000
    max_attempts: Annotated[
        int, Setting(min=1, help="Answers that may be rejected before a molecule is asked about no more.")
    ] = 3
    everything: Annotated[
        bool, Setting(flag="--everything", help="Also ask about molecules that have a record or are given up.")
    ] = False
    token_field: Annotated[
        str,
        Setting(help="What the model calls its longest answer: max_tokens, or max_completion_tokens (OpenAI's newer)."),
    ] = "max_tokens"


@dataclass(frozen=True, kw_only=True)
class ServingConfig(Config):
    """How engines run; nothing here changes what is written."""

    panel = "Engines"

    workers: Annotated[int | None, Setting(min=1, help="Engines; default: 1, or as many as the GPUs allow.")] = None
    max_attempts: Annotated[
        int,
        Setting(min=1, help="Answers that may be rejected before a molecule is a dead letter.", panel="Limits"),
    ] = 3
    request_minutes: Annotated[
        float,
        Setting(min=0.01, help="Longest time for one answer; an engine that exceeds it is replaced.", panel="Limits"),
    ] = 30.0
    concurrency: Annotated[
        int | None, Setting(alias="--max-num-seqs", min=1, help="Molecules that an engine works on at a time.")
    ] = None
    renderers: Annotated[
        int | None,
        Setting(min=0, help="Processes that make prompts for an engine; default: by the cores beside a GPU, up to 4."),
    ] = None
    max_model_len: Annotated[int | None, Setting(min=1, help="Context length in tokens; default: the model's.")] = None
    gpu_memory: Annotated[
        float, Setting(alias="--gpu-memory-utilization", min=0.05, max=1.0, help="Share of each GPU's memory to use.")
    ] = 0.9
    kv_cache_gib: Annotated[float, Setting(min=0.1, help="KV cache of an engine on a CPU, in GiB.")] = 1.0
    tensor_parallel: Annotated[
        int, Setting(alias="--tensor-parallel-size", min=1, help="GPUs that share each layer of the model.")
    ] = 1
    pipeline_parallel: Annotated[
        int, Setting(alias="--pipeline-parallel-size", min=1, help="Groups of GPUs that share the layers.")
    ] = 1
    load_format: Annotated[str, Setting(help="How vLLM loads weights; 'dummy' makes random ones.")] = "auto"
    trust_remote_code: Annotated[bool, Setting(help="Run code that comes with the model.")] = False
    ray: Annotated[str | None, RAY] = None
    wait_for_gpus: Annotated[bool, Setting(help="Wait for an autoscaler to bring GPUs.")] = False


@dataclass(frozen=True, kw_only=True)
class EngineConfig(ServingConfig):
    """How a run's engines run, and when it stops by itself."""

    max_dead: Annotated[
        int | None,
        Setting(
            min=0,
            help="Stop at more dead letters, rows without a molecule included (exit status 3); default: no limit.",
            panel="Limits",
        ),
    ] = None
    max_error_rate: Annotated[
        float,
        Setting(
            min=0.0,
            max=1.0,
            help="Stop when a larger share of rows is invalid or becomes dead letters.",
            panel="Limits",
        ),
    ] = 0.5
    stall_minutes: Annotated[
        float, Setting(min=0.1, help="Stop after this long without any progress.", panel="Limits")
    ] = 60.0


@dataclass(frozen=True, kw_only=True)
class ServiceConfig(Config):
    """How the service is offered."""

    panel = "Service"

    host: Annotated[str, Setting(help="Address to listen at; one that other machines reach needs a token.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Setting(min=1, max=65535, help="Port to listen at.")] = 8000
    replicas: Annotated[int, Setting(min=1, help="Processes that answer requests; engines are --workers.")] = 1
    queue: Annotated[
        int,
        Setting(min=1, help="Molecules that each of them may have at the engines; beyond that it answers 429."),
    ] = 256
    student: Annotated[Path | None, Setting(help="Folder of a student or a graph teacher, for /predict.")] = None
    describe: Annotated[bool, Setting(help="Offer /describe; without it, no engine is started.")] = True
    token_file: Annotated[
        Path | None,
        Setting(help="File with the token that requests must send; default: GALLON_SERVICE_TOKEN, or none."),
    ] = None
    drain_seconds: Annotated[
        float, Setting(min=0.0, help="Longest time for requests to finish when the service is stopped.")
    ] = 60.0
