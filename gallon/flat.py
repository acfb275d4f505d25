"""Calls with flat options: `annotate("a.smi", model="tiny")` rather than `annotate("a.smi", spec=SpecConfig(...))`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from gallon.config import Config

R = TypeVar("R")


def flat(call: Callable[..., R]) -> Callable[..., R]:
    """Let a call take the settings of its configurations as options of its own.

    The signature shows them, for help and completion; an unknown option is a TypeError, as for any function.
    """
    groups = configurations(call)
    signature = inspect.signature(call)
    own = [parameter for name, parameter in signature.parameters.items() if name not in groups]
    settings = [parameter for config in groups.values() for parameter in parameters_of(config)]
    shown = signature.replace(parameters=[*own, *settings])

    @functools.wraps(call)
    def with_options(*arguments: Any, **options: Any) -> R:
        shown.bind(*arguments, **options)
        for name, config in groups.items():
            given = {field.name: options.pop(field.name) for field in fields(config) if field.name in options}
            options[name] = config(**given)
        return call(*arguments, **options)

    with_options.__signature__ = shown  # type: ignore[attr-defined]
    return with_options


def configurations(call: Callable[..., Any]) -> dict[str, type[Config]]:
    """Return the configurations that a call takes, by the names of its parameters."""
    hints = get_type_hints(inspect.unwrap(call))
    return {
        name: hint
        for name, hint in hints.items()
        if isinstance(hint, type) and issubclass(hint, Config) and name != "return"
    }


def parameters_of(config: type[Config]) -> Iterator[inspect.Parameter]:
    """Yield the settings of a configuration as parameters."""
    hints = get_type_hints(config)
    for field in fields(config):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
        )
