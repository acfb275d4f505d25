"""A network that begins with the weights of a pre-trained one, all but those of its head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.models.model_store import PREFIX
from teacher.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

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
