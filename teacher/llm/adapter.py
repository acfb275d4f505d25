"""Which LoRA adapter a folder holds, and whether vLLM can serve it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from teacher.errors import UsageError
from teacher.file_digest import digest_of

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_model.pt")  # in the order in which vLLM looks
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM makes room for
KEPT_HEADS = ("classifier", "score")  # of modules that are saved beside the LoRA, those that vLLM passes over
# Starts that leave the model's own weights as they are, so that the adapter is a LoRA like any other.
PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")


def _has_trained_modules(modules: Any) -> bool:
    return any(name not in KEPT_HEADS for name in modules or ())


def _has_a_bias(bias: Any) -> bool:
    return bool(bias != "none")


def _changes_the_model(start: Any) -> bool:
    return isinstance(start, str) and start.lower() not in PLAIN_STARTS


# Which values of a setting vLLM refuses (`PEFTHelper`), and what they mean; what is not set, it serves.
UNSERVED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "use_dora": (bool, "DoRA"),
    "lora_bias": (bool, "a bias of the LoRA"),
    "bias": (_has_a_bias, "trained biases (bias)"),
    "use_qalora": (bool, "QALoRA"),
    "use_bdlora": (bool, "block-diagonal LoRA"),
    "alora_invocation_tokens": (bool, "an activated LoRA"),
    "layer_replication": (bool, "replicated layers"),
    "modules_to_save": (_has_trained_modules, "trained modules beside the LoRA (modules_to_save)"),
    "init_lora_weights": (_changes_the_model, "a start that changes the model's own weights (init_lora_weights)"),
}


class Adapter(BaseModel):
    """A LoRA adapter: its folder's name, for people, and the digest of its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """Where an adapter lies, and how much room it takes.

    Attributes:
        path: of the folder, absolute.
        rank: the least that vLLM can make room for and the adapter fits into.
    """

    path: str
    rank: int


def identify_adapter(path: str) -> tuple[Adapter, AdapterFiles]:
    """Find out which adapter a folder holds.

    Raises:
        UsageError: it holds none, or one that vLLM does not serve.
    """
    folder = Path(path).expanduser()
    if not (folder / CONFIG).is_file():
        raise UsageError(f"The folder {folder} holds no LoRA adapter: there is no {CONFIG} in it.")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise UsageError(f"The folder {folder} holds no weights of an adapter: there is no {WEIGHTS[0]} in it.")
    rank = _rank(folder, _read(folder / CONFIG))
    adapter = Adapter(name=folder.resolve().name, digest=digest_of([folder / CONFIG, weights]))
    return adapter, AdapterFiles(str(folder.absolute()), rank)


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None
    if not isinstance(config, dict):
        raise UsageError(f"{path} describes no adapter: it is no JSON object.")
    return config


def _rank(folder: Path, config: dict[str, Any]) -> int:
    """Return the room that an adapter takes.

    Raises:
        UsageError: vLLM does not serve it.
    """
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise UsageError(f"The adapter in {folder} is no LoRA ({kind}): vLLM serves no other.")
    for name, (is_refused, feature) in UNSERVED.items():
        if name in config and is_refused(config[name]):
            raise UsageError(f"The adapter in {folder} has {feature}, which vLLM does not serve.")
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    if not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise UsageError(f"{folder / CONFIG} has no rank: 'r' should be a whole number above 0.")
    needed = max(ranks)
    room = next((rank for rank in RANKS if rank >= needed), None)
    if room is None:
        raise UsageError(f"The adapter in {folder} has the rank {needed}: vLLM serves ranks up to {RANKS[-1]}.")
    return room
