"""The recipe of the `tiny` model, and the cache of what was made by it.

What `build` writes is decided by the constants of this package and by the corpus alone: the same on every machine.
Training replaces the weights and nothing else. Who changes code here in a way that changes the checkpoint, but no
constant that `_digest` covers, raises `RECIPE_VERSION`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from teacher.tiny import corpus, model, tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RECIPE_VERSION = 1
SEED = 0

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

# How loudly a random model speaks a token: the share of its embedding, and so of its logit. Fragments of words and
# stray bytes keep quiet; what ends a text is loud, or a text would go on until it is cut off.
QUIET, LOUD = 0.1, 2.0
ENDINGS = (tokenizer.END, '"}')


def ensure(cache: Path) -> Path:
    """Return the folder with the checkpoint under `cache`, and build it there where it is missing.

    The folder's name carries a digest of the recipe, and stands for a whole checkpoint or is not there: whatever
    happens while building, and however many processes build at the same time.
    """
    folder = cache / f"tiny-v{RECIPE_VERSION}-{_digest()}"
    if not folder.is_dir():
        _build_aside(folder)
    return folder


def build(folder: Path) -> None:
    """Write the checkpoint into `folder`: config, weights (bfloat16), tokenizer, processor and chat template."""
    from safetensors.torch import save

    trained = tokenizer.train(corpus.texts())
    configuration = model.configuration(trained.get_vocab())
    weights = model.random_weights(configuration, _loudness(trained), SEED)

    folder.mkdir(parents=True, exist_ok=True)
    trained.save(str(folder / "tokenizer.json"))
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    for name, content in _settings(configuration).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _digest() -> str:
    """Digest what decides the checkpoint; 12 hexadecimal digits."""
    special_ids = {token: number for number, token in enumerate(tokenizer.SPECIAL_TOKENS)}
    recipe = (
        SEED,
        CHAT_TEMPLATE,
        (QUIET, LOUD, ENDINGS),
        (tokenizer.VOCABULARY_SIZE, tokenizer.SPECIAL_TOKENS, tokenizer.PIECES),
        model.GAINS,
        _settings(model.configuration(special_ids)),
    )
    digest = hashlib.sha256(json.dumps(recipe).encode())
    for file in corpus.files():
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _build_aside(folder: Path) -> None:
    """Build under another name and rename, which is one step for all who look."""
    aside = folder.with_name(f".{folder.name}-{uuid4().hex}")
    try:
        build(aside)
        _flush(aside)
        aside.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster, and its checkpoint is as good
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Have the files on the disk before their folder gets its name, lest a power cut leave a name without content."""
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


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


def _loudness(trained: Tokenizer) -> list[float]:
    """Return the loudness of each token, by its id."""
    spoken = {token for text in corpus.texts() for token in trained.encode(text).tokens}
    by_id = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    return [LOUD if token in ENDINGS else 1.0 if token in spoken else QUIET for token, _ in by_id]
