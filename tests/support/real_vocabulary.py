"""A model folder of tiny's shape with a vocabulary of the real size, for pictures of the real size, without weights.

What vLLM does before and after the model (template, tokens, picture, text) costs as much as with a large model, which
is what `tests.benchmarks.frontend` measures.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from teacher.llm.models import TINY, local_path
from tests.support.tekken import write_tekken

FOLDER = Path(local_path(TINY))
PIXELS = 448
PATCH, SCALE = 14, 4  # of tiny: pixels of a patch's side, and patches of a token's side
WITHOUT_WEIGHTS = ("chat_template.jinja", "generation_config.json", "processor_config.json", "preprocessor_config.json")


def write_real_vocabulary(folder: Path) -> None:
    """Write the folder: Tekken's 131,072 tokens, as `mistral_common` ships them, and tiny's special ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*WITHOUT_WEIGHTS, "tokenizer_config.json", "config.json"):
        shutil.copy(FOLDER / name, folder)
    special = [token["content"] for token in _read(FOLDER / "tokenizer.json")["added_tokens"]]
    ids = write_tekken(folder, special)
    ends = {"eos_token_id": ids["<end_of_utterance>"], "pad_token_id": ids["<pad>"]}
    config = _read(folder / "config.json")
    config |= {"image_token_id": ids["<image>"], **ends}
    config["text_config"] |= {"vocab_size": len(ids), **ends}
    config["vision_config"] |= {"image_size": PIXELS}
    side = {"longest_edge": PIXELS}
    picture = {**_read(folder / "preprocessor_config.json"), "size": side, "max_image_size": side}
    processor = {**_read(folder / "processor_config.json"), "image_seq_len": (PIXELS // PATCH // SCALE) ** 2}
    for name, value in {
        "config": config,
        "generation_config": ends,
        "preprocessor_config": picture,
        "processor_config": processor,
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(value))


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text())
    return read
