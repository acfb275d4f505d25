"""The network of the `tiny` model: its shape.

An Idefics3: a vision tower in the manner of SigLIP reads the drawing, a pixel shuffle folds its patches into a few
image tokens, and a Llama decoder reads those among the words. Sizes are a compromise measured on two CPU cores: what
a request costs there is attention over the prompt (layers times heads), then the linear layers, then the drawing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from teacher.tiny.tokenizer import END, IMAGE, PAD

if TYPE_CHECKING:
    from transformers import Idefics3ForConditionalGeneration

IMAGE_SIZE = 224  # pixels, square
PATCH_SIZE = 14  # about one atom or bond of a drawing; 16 x 16 patches, whose positions bfloat16 holds exactly
SCALE_FACTOR = 4  # 4 x 4 patches become one image token
PATCHES = IMAGE_SIZE // PATCH_SIZE  # along a side
IMAGE_TOKENS = (PATCHES // SCALE_FACTOR) ** 2
CONTEXT = 4096  # tokens

VISION: dict[str, Any] = {
    "model_type": "idefics3_vision",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": IMAGE_SIZE,
    "patch_size": PATCH_SIZE,
}
TEXT: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,  # shared by two heads each: half of the KV cache to write and read
    "head_dim": 32,  # the smallest that vLLM's CPU attention takes
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
}


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


def network(vocabulary: Mapping[str, int], seed: int) -> Idefics3ForConditionalGeneration:
    """Return the network at its random start, in float32."""
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    torch.manual_seed(seed)
    return Idefics3ForConditionalGeneration(Idefics3Config(**configuration(vocabulary))).float()
