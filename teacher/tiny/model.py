"""The network of the `tiny` model: its shape, and its random start.

An Idefics3: a vision tower in the manner of SigLIP reads the drawing, a pixel shuffle folds its patches into a few
image tokens, and a Llama decoder reads those among the words. Both towers are as narrow as vLLM's CPU kernels allow
and as deep as two cores can serve.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

IMAGE_SIZE = 224  # pixels, square
PATCH_SIZE = 28  # 8 x 8 patches: eighths are exact in bfloat16, so patch positions come out alike everywhere
SCALE_FACTOR = 2  # 2 x 2 patches become one image token
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE // SCALE_FACTOR) ** 2
CONTEXT = 4096  # tokens

VISION: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": IMAGE_SIZE,
    "patch_size": PATCH_SIZE,
}
# Heads of 32: the smallest that vLLM's CPU attention takes.
TEXT: dict[str, Any] = {
    "hidden_size": 160,
    "intermediate_size": 448,
    "num_hidden_layers": 5,
    "num_attention_heads": 5,
    "num_key_value_heads": 5,
    "head_dim": 32,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
}


def save(folder: Path, vocabulary: dict[str, int], seed: int) -> None:
    """Write config.json, generation_config.json and model.safetensors (bfloat16) into `folder`.

    Args:
        folder: exists.
        vocabulary: the tokenizer's tokens and their ids.
        seed: of the random weights.
    """
    model = random_model(configure(vocabulary), seed)
    model.save_pretrained(folder)


def configure(vocabulary: dict[str, int]) -> Idefics3Config:
    """Return the architecture for a tokenizer's `vocabulary`."""
    from transformers import Idefics3Config

    special = {
        "pad_token_id": vocabulary["<pad>"],
        "bos_token_id": None,
        "eos_token_id": vocabulary["<end_of_utterance>"],
    }
    return Idefics3Config(
        vision_config=VISION,
        text_config={
            "model_type": "llama",
            "vocab_size": len(vocabulary),
            "tie_word_embeddings": True,
            **TEXT,
            **special,
        },
        scale_factor=SCALE_FACTOR,
        image_token_id=vocabulary["<image>"],
        tie_word_embeddings=True,
        **special,
    )


def random_model(config: Idefics3Config, seed: int) -> Idefics3ForConditionalGeneration:
    """Return the model in bfloat16 with random weights that are the same on every machine."""
    import torch
    from transformers import Idefics3ForConditionalGeneration

    model = Idefics3ForConditionalGeneration(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(_random_weight(name, weight.shape, seed))
    return model.to(torch.bfloat16)


def _random_weight(name: str, shape: torch.Size, seed: int) -> torch.Tensor:
    """Return the start of one parameter: ones for norms, zeros for biases, else uniform noise by fan-in.

    Uniform, because its bits do not depend on the processor as those of normal noise do; seeded by the name,
    because then the order of the parameters does not matter.
    """
    import torch

    if name.endswith("bias"):
        return torch.zeros(shape)
    if len(shape) == 1:
        return torch.ones(shape)
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:4]))
    return (torch.rand(shape, generator=generator) * 2 - 1) * math.sqrt(3) * _deviation(name, shape)


def _deviation(name: str, shape: torch.Size) -> float:
    """Return the standard deviation of one parameter's start."""
    fan_in = math.prod(shape[1:])
    if "embed_tokens" in name:
        return 1 / math.sqrt(fan_in)
    if "position_embedding" in name:
        return 0.1
    return 1 / math.sqrt(fan_in)
