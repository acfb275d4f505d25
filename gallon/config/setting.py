"""What a setting is, and those of tables, libraries and outputs, which many calls and commands share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from teacher.errors import UsageError
from teacher.files import placed

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
        of: the setting of the same configuration that it says more of; alone it would mean nothing.
    """

    help: str
    min: float | None = None
    max: float | None = None
    flag: str | None = None
    alias: str | None = None
    panel: str | None = None
    of: str | None = None

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
        defaults = {field.name: field.default for field in fields(self)}
        for name, setting in settings_of(type(self)).items():
            value = _as_declared(getattr(self, name), hints[name])
            object.__setattr__(self, name, value)
            _refuse_fraction(name, value, hints[name])
            setting.check(name, value)
            if setting.of and value != defaults[name] and getattr(self, setting.of) is None:
                raise UsageError(f"{_flag(name)} says more of {_flag(setting.of)}, which is not given.")


def check_number(name: str, value: float | None, *, least: float) -> None:
    """Refuse a number that a call is given and the command line would refuse; None is none.

    Raises:
        UsageError: it is too small.
    """
    Setting(help="", min=least).check(name, value)


def check_folds(folds: int | None) -> None:
    """Refuse a number of folds by which nothing can be predicted out of fold.

    Raises:
        UsageError: it is 1, or negative.
    """
    check_number("folds", folds, least=0)
    if folds == 1:
        raise UsageError("Out of one fold nothing is left to learn from: give folds 0, or 2 or more.")


def _refuse_fraction(name: str, value: Any, hint: Any) -> None:
    kinds = get_args(hint) or (hint,)
    if int in kinds and float not in kinds and isinstance(value, float):
        raise UsageError(f"{name} must be a whole number, and is {value:g}.")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _as_declared(value: Any, hint: Any) -> Any:
    """Return a path where a string stands for one, `~` as the home, and several where one stands for several."""
    kinds = get_args(hint) or (hint,)
    if Path in kinds and value is not None:
        return placed(value)
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
