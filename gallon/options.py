"""What users may set, command by command; options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from teacher.errors import UsageError

DEFAULT_STORE = "~/.gallon/store"


Library = Annotated[
    list[str],
    typer.Argument(
        help="Files of the library: .smi, .txt, .csv, .tsv, .tab, .sdf (or with .gz, .zst), .parquet; globs, URLs."
    ),
]
Data = Annotated[
    str,
    typer.Argument(help="A table with labels (.csv, .tsv, .tab, .txt, .parquet), or a name of MoleculeNet."),
]
SmilesColumn = Annotated[str | None, typer.Option(help="The column with the SMILES, in tables.")]
Separator = Annotated[
    str | None,
    typer.Option(help="Between the cells of a table as text, e.g. ';' or tab; default: found in the file."),
]
Encoding = Annotated[str | None, typer.Option(help="Of text files, e.g. cp1252 or utf-16; default: found in the file.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take only the first so many rows of the library.")]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="GALLON_STORE",
        help="A Redis URL (redis://, rediss://, unix://, redis+cluster://), or the folder of an embedded Redis.",
    ),
]
SpecId = Annotated[
    str | None, typer.Option("--spec", help="Id of a spec, or its beginning; `gallon status` lists them.")
]
RayAddress = Annotated[
    str | None, typer.Option("--ray", help="A Ray cluster's address; default: RAY_ADDRESS, or a local one.")
]
Folds = Annotated[int, typer.Option(min=0, help="Folds that training molecules are predicted out of; 0: none.")]
Tuning = Annotated[
    Path | None,
    typer.Option("--tuning", help="Take the settings that `gallon evaluate --trials` found, out of its tuning.json."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of the output.")]


@dataclass(frozen=True, kw_only=True)
class SpecOptions:
    """What decides an annotation."""

    model: Annotated[str, typer.Option(help="'tiny', a Hugging Face id, or the folder of a checkpoint.")] = "tiny"
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hugging Face model.")] = None
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")] = "auto"
    quantization: Annotated[str | None, typer.Option(help="A quantization that vLLM knows, e.g. fp8.")] = None
    prompt: Annotated[str, typer.Option(help="A prompt of the catalog (describe, gallon) or a file.")] = "describe"
    task: Annotated[str | None, typer.Option(help="The question for a prompt that asks one.")] = None
    smiles: Annotated[bool, typer.Option(help="Give the LLM the SMILES.")] = True
    image: Annotated[bool, typer.Option(help="Give the LLM the drawn structure.")] = True
    image_size: Annotated[int | None, typer.Option(min=32, max=2048, help="Side of the drawing in pixels.")] = None
    graph: Annotated[
        bool | None, typer.Option(help="Give the LLM the bonds as text; default: yes, but for the tiny model.")
    ] = None
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 is greedy.")] = 0.0
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0, help="Nucleus sampling.")] = 1.0
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer; the prompt has a default.")] = None
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0
    structured: Annotated[bool, typer.Option(help="Hold the answer to the prompt's schema while it is written.")] = True
    min_grounding: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Refuse answers whose groups and rings agree less than this with RDKit."),
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How the annotation is run; nothing here changes what is written."""

    workers: Annotated[int | None, typer.Option(min=1, help="Engines; default: 1, or as many as the GPUs allow.")] = (
        None
    )
    max_attempts: Annotated[
        int, typer.Option(min=1, help="Answers that may be refused before a molecule is a dead letter.")
    ] = 3
    request_minutes: Annotated[
        float, typer.Option(min=0.01, help="Longest time for one answer; an engine that gives none is replaced.")
    ] = 30.0
    max_dead: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Stop at more dead letters, with rows that hold no molecule (exit status 3); default: any number.",
        ),
    ] = None
    max_error_rate: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Stop when a greater share holds no molecule or becomes dead letters."),
    ] = 0.5
    stall_minutes: Annotated[float, typer.Option(min=0.1, help="Stop when nothing has happened for so long.")] = 60.0
    concurrency: Annotated[int | None, typer.Option(min=1, help="Molecules that an engine works on at a time.")] = None
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Context in tokens; default: the model's.")] = None
    gpu_memory: Annotated[float, typer.Option(min=0.05, max=1.0, help="Share of each GPU's memory to use.")] = 0.9
    kv_cache_gib: Annotated[float, typer.Option(min=0.1, help="KV cache of an engine on a CPU, in GiB.")] = 1.0
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs that share each layer of the model.")] = 1
    pipeline_parallel: Annotated[int, typer.Option(min=1, help="Groups of GPUs that share the layers.")] = 1
    load_format: Annotated[str, typer.Option(help="How vLLM loads weights; 'dummy' makes random ones.")] = "auto"
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that comes with the model.")] = False
    ray: RayAddress = None
    wait_for_gpus: Annotated[bool, typer.Option(help="Wait for an autoscaler to bring GPUs.")] = False


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What is learnt from, and how it is divided."""

    target: Annotated[list[str] | None, typer.Option(help="A column with labels; may be given several times.")] = None
    smiles_column: SmilesColumn = None
    separator: Separator = None
    encoding: Encoding = None
    split: Annotated[str, typer.Option(help="scaffold, random-scaffold, random, or column.")] = "scaffold"
    split_column: Annotated[str | None, typer.Option(help="The column that says train, valid or test.")] = None
    scaffold_chirality: Annotated[
        bool, typer.Option("--scaffold-chirality", help="Tell scaffolds apart by chirality, as GALLON does.")
    ] = False
    data_root: Annotated[Path | None, typer.Option(help="Folder with copies of MoleculeNet's files.")] = None
    seed: Annotated[int, typer.Option(help="Seed of splits, training and folds.")] = 0


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """How networks are trained."""

    out: Annotated[Path | None, typer.Option(help="Folder of the results; default: gallon-models/DATA.")] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results of other data that lie in the folder.")
    ] = False
    workers: Annotated[int | None, typer.Option(min=1, help="Training workers; default: one a GPU or core.")] = None
    encoder: Annotated[str, typer.Option(help="Text encoder: 'minilm', a Hugging Face id, or a folder.")] = "minilm"
    balance: Annotated[
        bool,
        typer.Option("--balance", help="Let both classes weigh the same in the loss of networks."),
    ] = False
    ray: RayAddress = None


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """Molecules without labels that students learn of."""

    transfer: Annotated[
        list[str] | None,
        typer.Option(help="A library without labels: students also learn what teachers say of its molecules."),
    ] = None
    transfer_rows: Annotated[
        int,
        typer.Option(
            min=1, help="Molecules to take of it, at random (--seed); all of it is read, about 10 s a million rows."
        ),
    ] = 5_000


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see the fields of a dataclass parameter as options of the command."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name]))
            continue
        group_hints = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            parameters.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=group_hints[field.name]
                )
            )

    @functools.wraps(command)
    def with_groups(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{field.name: options.pop(field.name) for field in fields(group)})
        command(**options)

    with_groups.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    with_groups.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_groups


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take the defaults of a command's options from a YAML file."""
    if path is None:
        return None
    import yaml

    from teacher.plain_yaml import read_yaml

    try:
        settings = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"The configuration {path} cannot be read: {' '.join(str(error).split())}.") from None
    if not isinstance(settings, dict):
        raise UsageError(f"The configuration {path} should map names of options to values.")
    settings = {str(name).replace("-", "_"): value for name, value in settings.items()}
    known = {parameter.name for parameter in context.command.params}
    if unknown := sorted(set(settings) - known):
        raise UsageError(f"The configuration {path} sets what this command does not know: {', '.join(unknown)}.")
    context.default_map = {**(context.default_map or {}), **settings}
    return path


Config = Annotated[
    Path | None,
    typer.Option(callback=_read_config, is_eager=True, help="A YAML file with values for these options; flags win."),
]
