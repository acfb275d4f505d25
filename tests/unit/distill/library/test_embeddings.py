"""The embeddings of a shard's annotations, as they lie on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distill.library.beside.embedding import Embedder, Found, _left
from distill.library.beside.embeddings import DamagedTextsError, ShardTexts, TextSet, read_texts, write_texts


def test_what_is_damaged_is_not_taken_for_silence_except_by_who_makes_it_anew(tmp_path: Path) -> None:
    texts = TextSet.at(tmp_path, "1f2e", "minilm")
    texts.begin({"examples": []})
    said = ShardTexts(np.array([1, 3]), ["an oil", "a salt"], np.ones(2, np.float32), np.ones((2, 8), np.float16))
    write_texts(said, texts, 0, "digest")
    there = read_texts(texts, 0, "digest")
    assert there is not None and there.texts == said.texts
    assert read_texts(texts, 1, "digest") is None and read_texts(texts, 0, "another") is None
    file = texts.file(0)
    for content in (file.read_bytes()[:-100], b"", b"not Arrow"):
        file.write_bytes(content)
        with pytest.raises(DamagedTextsError, match=r"000000\.arrow is damaged: run the same 'gallon embed' again"):
            read_texts(texts, 0, "digest")
        assert _left(texts, 0, "digest") is None


def test_of_a_shard_of_which_nothing_is_said_any_more_no_embedding_stays(tmp_path: Path) -> None:
    texts = TextSet.at(tmp_path, "1f2e", "minilm")
    texts.begin({"examples": []})
    said = ShardTexts(np.array([1, 3]), ["an oil", "a salt"], np.ones(2, np.float32), np.ones((2, 8), np.float16))
    write_texts(said, texts, 0, "digest")
    nothing = Found("digest", np.zeros(0, np.int64), [], [], np.zeros(0, np.float32), new=True)
    for _ in range(2):
        assert Embedder(texts, "minilm").embed(0, nothing) == 0
        assert read_texts(texts, 0, "digest") is None
