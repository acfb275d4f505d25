"""The network of the `tiny` model: its shape, and its random start.

An Idefics3: a vision tower in the manner of SigLIP reads the drawing, a pixel shuffle folds its patches into a few
image tokens, and a Llama decoder reads those among the words. Sizes are a compromise measured on two CPU cores: what
a request costs there is attention over the prompt (layers times heads), then the linear layers, then the drawing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from teacher.tiny.tokenizer import END, IMAGE, PAD

if TYPE_CHECKING:
    import torch

IMAGE_SIZE = 224  # pixels, square
PATCH_SIZE = 14  # about one atom or bond of a drawing; 16 x 16 patches, whose positions bfloat16 holds exactly
SCALE_FACTOR = 4  # 4 x 4 patches become one image token
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE // SCALE_FACTOR) ** 2
CONTEXT = 4096  # tokens

VISION: dict[str, Any] = {
    "model_type": "idefics3_vision",
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": IMAGE_SIZE,
    "patch_size": PATCH_SIZE,
}
TEXT: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 160,
    "intermediate_size": 448,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,  # shared by all heads: a quarter of the KV cache to write and read
    "head_dim": 32,  # the smallest that vLLM's CPU attention takes
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
}

EMBEDDING = "model.text_model.embed_tokens.weight"  # of the words going in, and, transposed, coming out

# The random start departs from unit variance where that makes a random model talk like a trained one: attention looks
# at a few tokens rather than at the mean of all (so the drawing matters, and greedy decoding does not run in circles),
# and the most likely token is clearly so.
GAINS = {"self_attn.q_proj": 2.0, "self_attn.k_proj": 2.0, "text_model.norm": 4.0}


def configuration(vocabulary: Mapping[str, int]) -> dict[str, Any]:
    """Return the content of config.json for a tokenizer's `vocabulary` (tokens and their ids)."""
    special = {"pad_token_id": vocabulary[PAD], "bos_token_id": None, "eos_token_id": vocabulary[END]}
    return {
        "architectures": ["Idefics3ForConditionalGeneration"],
        "model_type": "idefics3",
        "dtype": "bfloat16",
        "image_token_id": vocabulary[IMAGE],
        "scale_factor": SCALE_FACTOR,
        "tie_word_embeddings": True,
        "text_config": {**TEXT, **special, "vocab_size": len(vocabulary), "tie_word_embeddings": True},
        "vision_config": VISION,
        **special,
    }


def random_weights(configuration: Mapping[str, Any], loudness: Sequence[float], seed: int) -> dict[str, torch.Tensor]:
    """Return every parameter by its name in the checkpoint, in bfloat16, the same on every machine.

    Args:
        configuration: the content of config.json.
        loudness: of each token, what the random start of its embedding is multiplied by.
        seed: of the random numbers.
    """
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    with torch.device("meta"):  # names and shapes alone
        network = Idefics3ForConditionalGeneration(Idefics3Config(**configuration))
    weights = {name: _random_weight(name, weight.shape, seed) for name, weight in network.named_parameters()}
    weights[EMBEDDING] *= torch.tensor(loudness)[:, None]
    return {name: weight.to(torch.bfloat16) for name, weight in weights.items()}


def _random_weight(name: str, shape: torch.Size, seed: int) -> torch.Tensor:
    """Return the start of one parameter: zeros for a bias, ones for a norm, else noise of deviation 1 / sqrt(fan-in).

    The noise is uniform, whose bits, unlike those of normal noise, do not depend on the processor, and is seeded by
    the parameter's name, so that the order of the parameters does not matter.
    """
    import torch

    if name.endswith("bias"):
        return torch.zeros(shape)
    gain = math.prod(gain for part, gain in GAINS.items() if part in name)
    if len(shape) == 1:
        return torch.full(shape, gain)
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8]))
    limit = gain * math.sqrt(3 / math.prod(shape[1:]))
    return (torch.rand(shape, generator=generator) * 2 - 1) * limit
