"""Models in Mistral's own format: known by their files, and asked in the way that mistral-common takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import gallon
from teacher.errors import UsageError
from teacher.llm.engine import Request
from teacher.llm.engines.rendering import chat_message, chat_params
from teacher.llm.models import identify, in_mistral_format, read_config
from teacher.llm.prompt import Picture
from teacher.llm.spec import Sampling
from teacher.llm.thinking import parser_for

IMG = 10  # the token that stands for a patch of a picture
SIDE, PATCH = 448, 16
TEXT_MODEL = {"dim": 64, "n_layers": 1, "head_dim": 32, "hidden_dim": 128, "n_heads": 2, "n_kv_heads": 1}
TEXT_MODEL |= {"vocab_size": 131_072, "norm_eps": 1e-5, "rope_theta": 1e6, "max_position_embeddings": 4_096}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model without weights, with the tokenizer of Pixtral."""
    import mistral_common

    (tmp_path / "params.json").write_text(json.dumps({**TEXT_MODEL, "dtype": "float32"}))
    (tmp_path / "tekken.json").symlink_to(Path(mistral_common.__file__).parent / "data" / "tekken_240911.json")
    return tmp_path


def test_a_folder_in_mistrals_format_is_known_by_its_files(folder: Path) -> None:
    before = identify(str(folder)).revision
    assert in_mistral_format(str(folder)) and read_config(str(folder), before)["dim"] == 64
    assert parser_for(read_config(str(folder), before)) == "mistral"
    for name in ("consolidated.safetensors", "tokenizer.model.v3"):
        (folder / name).write_bytes(b"something")
        assert identify(str(folder)).revision != before
        before = identify(str(folder)).revision
    (folder / "params.json").unlink()
    with pytest.raises(UsageError, match=r"no config.json in it, nor a params.json"):
        identify(str(folder))


def test_a_prompt_is_rendered_by_mistrals_tokenizer(folder: Path) -> None:
    shown = gallon.show_prompt("CCO", model=str(folder), image=False, max_model_len=2_048)
    assert shown.text.startswith("<s>[INST]") and shown.text.endswith("JSON:[/INST]")
    assert "SMILES: CCO" in shown.text and shown.context == 2_048


def test_a_picture_goes_to_mistrals_tokenizer_where_the_prompt_has_it(folder: Path) -> None:
    from vllm.tokenizers.mistral import MistralTokenizer

    tokenizer = MistralTokenizer.from_pretrained(folder)
    picture = Picture(Image.new("RGB", (SIDE, SIDE), "white"), "white")
    message = chat_message(Request(["Look:", picture, "SMILES: CCO"], Sampling(max_tokens=1)), mistral=True)
    ids = tokenizer.apply_chat_template([message], **chat_params().get_apply_chat_template_kwargs())
    assert ids.count(IMG) == (SIDE // PATCH) ** 2
    before, after = ids[: ids.index(IMG)], ids[-ids[::-1].index(IMG) :]
    assert tokenizer.decode(before) == "<s>[INST]Look:"
    assert tokenizer.decode(after).endswith("SMILES: CCO[/INST]")
