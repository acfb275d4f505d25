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
from teacher.files import placed

OUTPUT_PANEL = "Output"
TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}  # YAML's

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


def _prefer_config(context: typer.Context, store: str) -> str:
    """Let the store that a configuration file names win over the environment variable; a flag wins over both."""
    source = context.get_parameter_source("store")
    named = context.lookup_default("store")
    return str(named) if named is not None and source is not None and source.name == "ENVIRONMENT" else store


StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar=STORE_VARIABLE,
        callback=_prefer_config,
        help="A Redis URL (redis://, rediss://, unix://, redis+cluster://), or the folder of an embedded Redis.",
        rich_help_panel="Store",
    ),
]
SpecId = Annotated[
    str | None,
    typer.Option("--spec", help="Id of a spec, or its beginning; `gallon status` lists them.", rich_help_panel="Store"),
]
RayAddress = Annotated[str | None, typer.Option("--ray", help=RAY.help)]
DEFAULT_METHODS = (  # that of `distill.evaluate.methods`, which is not loaded for a page of help
    "random_forest, gradient_boosting, lightgbm, gcn, gin, gat, dmpnn, lm, teachers, student, student+gnn, student+lm, "
    "student+both, student+shuffled, student+gnn+transfer, student+both+transfer, glnn, mugsi, gallon"
)
Methods = Annotated[
    list[str] | None,
    typer.Option(
        help=f"Rows of the table; default, where their inputs are there: {DEFAULT_METHODS}; with --rules also those of "
        "rules.",
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

    from teacher.plain_yaml import read_words

    try:
        settings = read_words(placed(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"The configuration {path} cannot be read: {' '.join(str(error).split())}.") from None
    if not isinstance(settings, dict):
        raise UsageError(f"The configuration {path} should map names of options to values.")
    context.default_map = {**(context.default_map or {}), **_defaults(context, settings, path)}
    return path


def _defaults(context: typer.Context, settings: dict[Any, Any], path: Path) -> dict[str, Any]:
    """Return the defaults that a file sets, by the names of a command's parameters.

    Raises:
        UsageError: a name is no option of the command, or its value does not suit it.
    """
    flags = _flags(context)
    named = {_plain_flag(str(name)): value for name, value in settings.items()}
    if unknown := sorted(set(named) - set(flags)):
        raise UsageError(
            f"The configuration {path} sets options that this command does not have: {', '.join(unknown)}."
        )
    defaults: dict[str, Any] = {}
    for name, value in named.items():
        parameter, is_negation = flags[name]
        if value is None:
            continue
        if parameter.name in defaults:
            raise UsageError(f"The configuration {path} sets {parameter.opts[0]} more than once: leave one line.")
        try:
            defaults[parameter.name] = _default(parameter, value, is_negation=is_negation)
        except ValueError as error:
            raise UsageError(f"The configuration {path} sets {name}, which {error}: correct it.") from None
    return defaults


def _flags(context: typer.Context) -> dict[str, tuple[Any, bool]]:
    """Return a command's parameters by their flags, and whether the flag says no, as --no-image does."""
    return {
        _plain_flag(flag): (parameter, flag in parameter.secondary_opts)
        for parameter in context.command.params
        if parameter.name != "config"
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }


def _plain_flag(flag: str) -> str:
    return flag.lstrip("-").replace("_", "-")


def _default(parameter: Any, value: Any, *, is_negation: bool) -> Any:
    """Return a value of a file as a flag takes it: a list where the flag may be repeated.

    Raises:
        ValueError: it is of another form; the message completes a sentence.
    """
    if is_negation:
        if _truth(value) is None:
            raise ValueError("is true or false")
        return not _truth(value)
    values = value if isinstance(value, list) else [value]
    if any(isinstance(each, list | dict) for each in values):
        raise ValueError("takes no nested values")
    if getattr(parameter, "is_flag", False):
        values = [each if _truth(each) is None else _truth(each) for each in values]
    if parameter.nargs == -1 or getattr(parameter, "multiple", False):
        return values
    if isinstance(value, list):
        raise ValueError("takes one value")
    return values[0]


def _truth(value: Any) -> bool | None:
    """Return what a word of a file says of a flag that has no value; None where it says nothing."""
    return TRUTHS.get(str(value).lower())


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        callback=_read_config,
        is_eager=True,
        help="A YAML file with values for these options, by the names of their flags; flags win.",
    ),
]
