"""Calls with flat options: `annotate("a.smi", model="tiny")` rather than `annotate("a.smi", spec=SpecConfig(...))`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from gallon.config import Config

R = TypeVar("R")
Parameters = list[inspect.Parameter]


def flat(call: Callable[..., R]) -> Callable[..., R]:
    """Let a call take the settings of its configurations as options of its own.

    The signature shows them, for help and completion; an unknown option is a TypeError, as for any function.
    """
    groups = configurations(call)
    signature = inspect.signature(call)
    shown = signature.replace(parameters=flat_parameters(call))

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


def flat_parameters(call: Callable[..., Any]) -> Parameters:
    """Return the parameters of a call with each configuration replaced by its settings."""
    return list(_flattened(call))


def _flattened(call: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    groups = configurations(call)
    last = []
    for name, parameter in inspect.signature(call).parameters.items():
        if name not in groups:
            yield parameter
            continue
        hints = get_type_hints(groups[name])
        for field in fields(groups[name]):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            last.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
                )
            )
    yield from last
