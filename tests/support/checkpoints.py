"""Relatives of the tiny model that nobody trained: one that thinks, a LoRA adapter, and the model merged with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from teacher.llm.models import CHECKPOINT

WEIGHTS = "model.safetensors"
EMBEDDING = "model.text_model.embed_tokens.weight"
END_OF_TURN = 1
OPENED = "Assistant:<think>"
SWITCHED = "Assistant:<think>{% if not enable_thinking %}</think>{% endif %}"  # off unless it is switched on
PROJECTIONS = ("q_proj", "v_proj")


def thinking_tiny(folder: Path, turn: str = OPENED) -> Path:
    """Write a tiny model that thinks what it would have answered, and then answers.

    It has two tokens more. To end its thoughts is to it what it is to end its turn, only more so.

    Args:
        folder: to be made.
        turn: how its chat template begins the model's turn.
    """
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(CHECKPOINT, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    size = len(tokenizer["model"]["vocab"])
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    tokenizer["added_tokens"] += [
        {"id": size + place, "content": mark, **plain} for place, mark in enumerate(("<think>", "</think>"))
    ]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["vocab_size"] = size + 2
    (folder / "config.json").write_text(json.dumps(config))
    template = (folder / "chat_template.jinja").read_text()
    assert template.count("Assistant:") == 1
    (folder / "chat_template.jinja").write_text(template.replace("Assistant:", turn))
    weights = load_file(folder / WEIGHTS)
    table = weights[EMBEDDING]
    weights[EMBEDDING] = torch.cat([table, torch.zeros_like(table[:1]), 1.5 * table[END_OF_TURN, None]])
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def tiny_adapter(folder: Path, rank: int = 4, **changes: object) -> Path:
    """Write a LoRA adapter of the tiny model's language model, with random weights."""
    import torch
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(PROJECTIONS)}
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    chance = torch.Generator().manual_seed(7)
    weights = {}
    for name, weight in load_file(CHECKPOINT / WEIGHTS).items():
        if "text_model" in name and name.split(".")[-2] in PROJECTIONS:
            module = f"base_model.model.{name.removesuffix('.weight')}"
            weights[f"{module}.lora_A.weight"] = 0.1 * torch.randn(rank, weight.shape[1], generator=chance)
            weights[f"{module}.lora_B.weight"] = 0.1 * torch.randn(weight.shape[0], rank, generator=chance)
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


def merged_tiny(folder: Path, adapter: Path) -> Path:
    """Write the tiny model with an adapter merged into its weights."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(CHECKPOINT, folder)
    config = json.loads((adapter / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"]
    weights = {name: weight.float() for name, weight in load_file(folder / WEIGHTS).items()}
    parts = load_file(adapter / "adapter_model.safetensors")
    for name in [name for name in parts if name.endswith("lora_A.weight")]:
        module = name.removesuffix(".lora_A.weight")
        weights[f"{module.removeprefix('base_model.model.')}.weight"] += (
            scale * parts[f"{module}.lora_B.weight"] @ parts[name]
        )
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    return folder
