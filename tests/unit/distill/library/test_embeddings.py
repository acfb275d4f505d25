"""The embeddings of a shard's annotations, as they lie on disk."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.library.beside.embedding import Embedder, Found, _left
from distill.library.beside.embeddings import DamagedTextsError, ShardTexts, TextSet, read_texts, write_texts
from distill.library.beside.scores import texts_of
from distill.models.model_store import read_card
from tests.support.models import untrained_student
from tests.support.prepared import library_of


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


def test_embeddings_lie_where_the_files_of_an_encoder_say_and_the_last_are_found(tmp_path: Path) -> None:
    assert TextSet.at(tmp_path, "1f2e", "minilm").folder.name == "minilm-349a444e0175a971"  # as it has ever been
    made = [TextSet.at(tmp_path, "1f2e", "/encoder", version) for version in (None, "files b", "files a")]
    for age, texts in enumerate(reversed(made)):
        texts.begin({"examples": []})
        os.utime(texts.folder / "manifest.json", (100 - age, 100 - age))
    assert len({texts.folder for texts in made}) == 3
    assert TextSet.find(tmp_path) == made[2]
    assert TextSet.find(tmp_path, "2f") is None


def test_a_teacher_reads_the_embeddings_of_the_encoder_that_it_was_trained_by(tmp_path: Path) -> None:
    library = library_of(tmp_path / "library", [["CO", "CCO"]])
    card = read_card(untrained_student(tmp_path / "teacher"))
    card = replace(card, recipe="lm", spec="1f2e", encoder="/encoder", encoder_version="files a")
    from_before = replace(card, encoder_version=None)
    assert texts_of(library, card) is None and texts_of(library, from_before) is None
    for version in ("files a", "files b"):
        TextSet.at(library.folder, "1f2e", "/encoder", version).begin({"examples": []})
    found = [texts_of(library, each) for each in (card, replace(card, encoder_version="files c"), from_before)]
    assert [texts and texts.version for texts in found] == ["files a", None, "files b"]
    TextSet.at(library.folder, "1f2e", "/encoder").begin({"examples": []})
    old = texts_of(library, from_before)
    assert old is not None and old.version is None
    assert texts_of(library, replace(card, encoder_version="files c")) is None
