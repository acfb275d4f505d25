"""What users may set on the command line: the settings of `gallon.config`, and options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from gallon.config import RAY, STORE_VARIABLE, Setting, settings_of
from gallon.config import Config as Settings
from gallon.flat import configurations, parameters_of
from teacher.errors import UsageError

OUTPUT_PANEL = "Output"

Library = Annotated[
    list[str],
    typer.Argument(
        metavar="LIBRARY",
        help="Files of the library: .smi, .txt, .csv, .tsv, .tab, .sdf (or with .gz, .zst), .parquet; globs, URLs.",
    ),
]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A table or SD file with labels (.csv, .tsv, .tab, .txt, .parquet, .sdf), or a name of MoleculeNet.",
    ),
]
PreparedFolder = Annotated[
    Path, typer.Argument(metavar="LIBRARY", help="Folder of a library that `gallon prepare` has filled.")
]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar=STORE_VARIABLE,
        help="A Redis URL (redis://, rediss://, unix://, redis+cluster://), or the folder of an embedded Redis.",
        rich_help_panel="Store",
    ),
]
SpecId = Annotated[
    str | None,
    typer.Option("--spec", help="Id of a spec, or its beginning; `gallon status` lists them.", rich_help_panel="Store"),
]
RayAddress = Annotated[str | None, typer.Option("--ray", help=RAY.help)]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        help="Rows of the table; default: all but chemprop, lm-fine-tuned, mmf, e-llagnn and GALLON's ablations.",
        rich_help_panel="Comparison",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        min=1, help="How many, from --seed on; default: 5, or 25 with scaffold-cv.", rich_help_panel="Comparison"
    ),
]
Trials = Annotated[
    int,
    typer.Option(min=0, help="Optuna trials of every method; 0: its stated defaults.", rich_help_panel="Comparison"),
]
LabelCounts = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        help="Compare also with fewer labels, e.g. 50,100,200: molecules in training and validation together.",
        rich_help_panel="Comparison",
    ),
]
Recompute = Annotated[
    bool,
    typer.Option(
        "--recompute",
        help="Train nothing: make the tables and the page again, out of the predictions in the folder.",
        rich_help_panel="Comparison",
    ),
]
ReleasedRows = Annotated[
    str | None,
    typer.Option(
        help="gallon: students, their graph teacher and their objective as GALLON released them, in rows called "
        "gallon...; default: ours, whitened.",
        rich_help_panel="Comparison",
    ),
]
OtherSpecs = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=SPEC: rows that read texts also with those of this spec, as 'METHOD [NAME]'; may be repeated.",
        rich_help_panel="Comparison",
    ),
]
Folds = Annotated[
    int,
    typer.Option(
        min=0, help="Folds that training molecules are predicted out of; 0: none.", rich_help_panel="Training"
    ),
]
Tuning = Annotated[
    Path | None,
    typer.Option(
        "--tuning",
        help="Use the settings that `gallon evaluate --trials` found, from its tuning.json.",
        rich_help_panel="Training",
    ),
]
Start = Annotated[
    Path | None,
    typer.Option(
        "--start",
        help="Folder of `gallon pretrain`: the teacher of its kind begins with its network, all but the head; evaluate "
        "has rows of both, the latter called 'METHOD [pre-trained]'.",
        rich_help_panel="Training",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output if it exists.", rich_help_panel=OUTPUT_PANEL)
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object as the last line of the output.", rich_help_panel=OUTPUT_PANEL),
]


def flatten_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see the settings of a command's configurations as options of its own."""
    hints = get_type_hints(command, include_extras=True)
    groups = configurations(command)
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _options_of(groups[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

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


def _options_of(config: type[Settings]) -> Iterator[inspect.Parameter]:
    settings = settings_of(config)
    for parameter in parameters_of(config):
        option = _option(parameter.name, settings[parameter.name], config.panel)
        yield parameter.replace(annotation=Annotated[_repeated(parameter.annotation), option])


def _option(name: str, setting: Setting, panel: str) -> Any:
    flags = [setting.flag] if setting.flag else []
    if setting.alias:
        flags = [f"--{name.replace('_', '-')}", setting.alias]
    return typer.Option(
        *flags, help=setting.help, min=setting.min, max=setting.max, rich_help_panel=setting.panel or panel
    )


def _repeated(hint: Any) -> Any:
    """Return the type of an option: what a configuration holds as a tuple is given several times."""
    kinds = get_args(hint)
    for kind in kinds:
        if get_origin(kind) is tuple:
            return list[get_args(kind)[0]] | None  # type: ignore[misc]
    return hint


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
        raise UsageError(
            f"The configuration {path} sets options that this command does not have: {', '.join(unknown)}."
        )
    context.default_map = {**(context.default_map or {}), **settings}
    return path


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", callback=_read_config, is_eager=True, help="A YAML file with values for these options; flags win."
    ),
]
