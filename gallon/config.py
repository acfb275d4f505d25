"""The settings of every call and command: one source of their names, defaults, limits and help.

`gallon.annotate(..., workers=8)` and `gallon annotate --workers 8` both set `EngineConfig.workers`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from teacher.errors import UsageError

DEFAULT_STORE = "~/.gallon/store"
STORE_VARIABLE = "GALLON_STORE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is known of a setting beside its type and default.

    Attributes:
        help: one line for people.
        min, max: the limits of its values, themselves allowed.
        flag: how the command line spells it, where that is not its name.
        alias: another spelling of the flag, that of vLLM.
        panel: the heading of `--help`, where it is not that of its configuration.
    """

    help: str
    min: float | None = None
    max: float | None = None
    flag: str | None = None
    alias: str | None = None
    panel: str | None = None

    def check(self, name: str, value: object) -> None:
        """Refuse a value outside the limits.

        Raises:
            UsageError: it is outside.
        """
        if not isinstance(value, int | float) or isinstance(value, bool):
            return
        if self.min is not None and value < self.min:
            raise UsageError(f"{name} must be at least {self.min:g}, and is {value:g}.")
        if self.max is not None and value > self.max:
            raise UsageError(f"{name} must be at most {self.max:g}, and is {value:g}.")


RAY = Setting(help="Address of a Ray cluster; default: RAY_ADDRESS, or a local one.")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings that are checked when they are made."""

    panel: ClassVar[str]

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name, setting in settings_of(type(self)).items():
            value = _as_declared(getattr(self, name), hints[name])
            object.__setattr__(self, name, value)
            setting.check(name, value)


def _as_declared(value: Any, hint: Any) -> Any:
    """Return a path where a string stands for one, and several where one stands for several."""
    kinds = get_args(hint) or (hint,)
    if Path in kinds and isinstance(value, str):
        return Path(value)
    if any(get_origin(kind) is tuple for kind in kinds) and value is not None:
        return (fspath(value),) if isinstance(value, str | PathLike) else tuple(map(fspath, value))
    return value


def settings_of(config: type) -> dict[str, Setting]:
    """Return what is known of each setting of a configuration."""
    hints = get_type_hints(config, include_extras=True)
    found = {}
    for field in fields(config):
        for known in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(known, Setting):
                found[field.name] = known
    return found


@dataclass(frozen=True, kw_only=True)
class TableConfig(Config):
    """How tables and files with molecules are read."""

    smiles_column: Annotated[str | None, Setting(help="The column with the SMILES, in tables.")] = None
    separator: Annotated[
        str | None, Setting(help="Between the cells of a text table, e.g. ';' or tab; default: detected.")
    ] = None
    encoding: Annotated[str | None, Setting(help="Of text files, e.g. cp1252 or utf-16; default: detected.")] = None


@dataclass(frozen=True, kw_only=True)
class LibraryConfig(TableConfig):
    """How the files of a library are read."""

    panel = "Library"

    limit: Annotated[int | None, Setting(min=1, help="Take only the first N rows of the library.")] = None


@dataclass(frozen=True, kw_only=True)
class KeepConfig(Config):
    """Which of a library's own columns go into an output, beside ours."""

    panel = "Output"

    keep_columns: Annotated[
        tuple[str, ...] | None,
        Setting(help="Columns of the library to keep: all (default), none, or names; may be repeated."),
    ] = None
    id_column: Annotated[str | None, Setting(help="The library's column that names a molecule; it comes first.")] = None


@dataclass(frozen=True, kw_only=True)
class ShortKeepConfig(KeepConfig):
    """The same, where `--keep` says nothing of samples and may stand for `--keep-columns`."""

    keep_columns: Annotated[
        tuple[str, ...] | None,
        Setting(alias="--keep", help="Columns of the library to keep: all (default), none, or names; may be repeated."),
    ] = None


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
    task: Annotated[str | None, Setting(help="The question, for a prompt that takes one.")] = None
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
class DataConfig(TableConfig):
    """What is learned from, and how it is split."""

    panel = "Data"

    target: Annotated[tuple[str, ...] | None, Setting(help="A column with labels; may be given several times.")] = None
    split: Annotated[str, Setting(help="scaffold, random-scaffold, scaffold-cv, random, or column.")] = "scaffold"
    split_column: Annotated[str | None, Setting(help="The column that says train, valid or test.")] = None
    scaffold_chirality: Annotated[
        bool,
        Setting(flag="--scaffold-chirality", help="Tell scaffolds apart by chirality, as GALLON does."),
    ] = False
    data_root: Annotated[Path | None, Setting(help="Folder with copies of MoleculeNet's files.")] = None
    seed: Annotated[int, Setting(help="Seed of splits, training and folds.")] = 0


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How networks are trained."""

    panel = "Training"

    out: Annotated[Path | None, Setting(help="Folder of the results; default: gallon-models/DATA.")] = None
    overwrite: Annotated[
        bool,
        Setting(flag="--overwrite", help="Replace results of other data that are in the folder."),
    ] = False
    workers: Annotated[int | None, Setting(min=1, help="Training workers; default: one per GPU or core.")] = None
    encoder: Annotated[str, Setting(help="Text encoder: 'minilm', a Hugging Face id, or a folder.")] = "minilm"
    balance: Annotated[
        bool,
        Setting(flag="--balance", help="Give both classes the same weight in the loss of networks."),
    ] = False
    ray: Annotated[str | None, RAY] = None


@dataclass(frozen=True, kw_only=True)
class TransferConfig(Config):
    """Unlabelled molecules that students also learn from."""

    panel = "Transfer set"

    transfer: Annotated[
        tuple[str, ...] | None,
        Setting(help="A library without labels: students also learn what teachers predict for its molecules."),
    ] = None
    transfer_rows: Annotated[
        int,
        Setting(
            min=1, help="Molecules to draw from it at random (--seed); all of it is read, about 10 s per million rows."
        ),
    ] = 5_000


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Config):
    """The terms of a student's loss, and their weights."""

    panel = "Student"

    descriptors: Annotated[
        str,
        Setting(help="Descriptors beside a fingerprint: all (slow), lean, estimated (fast) or none."),
    ] = "lean"
    soft_gnn: Annotated[
        float | None,
        Setting(min=0, help="Weight of the graph teachers' predictions; default: 0.5, with --transfer 1."),
    ] = None
    soft_lm: Annotated[float, Setting(min=0, help="Weight of the language teachers' predictions.")] = 0.5
    hidden_gnn: Annotated[float, Setting(min=0, help="Weight of the graph teachers' representations.")] = 0.1
    hidden_lm: Annotated[float, Setting(min=0, help="Weight of the language teachers' representations.")] = 0.1
    soft_temperature: Annotated[float, Setting(min=0.1, help="Temperature of the teachers' class probabilities.")] = 1.0


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
