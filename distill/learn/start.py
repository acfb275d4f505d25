"""A network that begins with the weights of a pre-trained one, all but those of its head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.models.model_store import PREFIX
from teacher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from distill.learn.recipes import Recipe
    from distill.models.pretraining import Start
    from teacher.nn.registry import NetworkRef

HEAD = "head."


def begun(weights: Path, build: NetworkRef, targets: int, **settings: Any) -> nn.Module:
    """Build a network and let all but its head begin with pre-trained weights.

    Args:
        weights: of the pre-trained network, in safetensors.
        build: makes the network.
        targets: numbers to predict.
        settings: of the network; those that it was pre-trained with.

    Raises:
        UsageError: the weights are of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = build(targets, **settings)
    try:
        found = load_file(weights).items()
        inside = {name.removeprefix(PREFIX): value for name, value in found if name.startswith(PREFIX)}
        body = {name: value for name, value in inside.items() if not name.startswith(HEAD)}
        missing, unknown = network.load_state_dict(body, strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UsageError(f"No network can begin with {weights}: {str(error).splitlines()[0]}") from None
    if unknown or any(not name.startswith(HEAD) for name in missing):
        raise UsageError(f"No network can begin with {weights}: they are of another one.")
    return network


def names_beside(start: Start, names: list[str]) -> list[str]:
    """Return the teachers that are asked for, by default the one that begins with a pre-trained network.

    Raises:
        UsageError: none of them does.
    """
    name = start.card.recipe
    if names and name not in names:
        raise UsageError(f"The network of --start is a {name}, and no {names[0]} begins with it: add --teacher {name}.")
    return names or [name]


def beginning_with(start: Start, recipes: Sequence[Recipe]) -> list[Recipe]:
    """Return recipes of which that of a pre-trained network begins with it."""
    return [known.beginning_with(start) if known.name == start.card.recipe else known for known in recipes]
