"""The files of a checkpoint: what vLLM and transformers need beside the weights, and how all of it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher.tiny import model, tokenizer

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

# Idefics3's own form of conversation: the parts of a message follow one another with nothing between them.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
    "<end_of_utterance>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)

# A picture is one image of fixed size, never tiles. Each is resized once, to the square; none when it has that size.
IMAGE_PROCESSOR: dict[str, Any] = {
    "image_processor_type": "Idefics3ImageProcessor",
    "processor_class": "Idefics3Processor",
    "do_convert_rgb": True,
    "do_resize": False,
    "do_image_splitting": False,
    "size": {"longest_edge": model.IMAGE_SIZE},
    "max_image_size": {"longest_edge": model.IMAGE_SIZE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_pad": True,
}


def write(folder: Path, words: Tokenizer, weights: Mapping[str, torch.Tensor]) -> None:
    """Write a checkpoint that plain vLLM and transformers load: weights in bfloat16, tokenizer, settings, template.

    Args:
        folder: is made where it is missing.
        words: the trained tokenizer.
        weights: every parameter by its name in the network.
    """
    import torch
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    halved = {name: weight.detach().to(torch.bfloat16).contiguous() for name, weight in weights.items()}
    words.save(str(folder / "tokenizer.json"))
    (folder / "model.safetensors").write_bytes(save(halved, metadata={"format": "pt"}))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    for name, content in _settings(model.configuration(words.get_vocab())).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _settings(configuration: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the checkpoint's JSON files, by name."""
    return {
        "config.json": configuration,
        "generation_config.json": {key: configuration[key] for key in ("eos_token_id", "pad_token_id")},
        "preprocessor_config.json": IMAGE_PROCESSOR,
        "processor_config.json": {"processor_class": "Idefics3Processor", "image_seq_len": model.IMAGE_TOKENS},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "processor_class": "Idefics3Processor",
            "pad_token": tokenizer.PAD,
            "eos_token": tokenizer.END,
            "model_max_length": model.CONTEXT,
            "clean_up_tokenization_spaces": False,
        },
    }
