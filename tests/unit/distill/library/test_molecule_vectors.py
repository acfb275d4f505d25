"""Vectors of a library's molecules, which are kept beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.data.dataset import read
from distill.learn.inputs import ModelInputs
from distill.learn.teacher_outputs import _check_reading
from distill.library.beside import molecule_vectors
from distill.library.beside.molecule_vectors import MoleculeVectors
from distill.library.beside.row_arrays import add_rows, read_rows
from distill.library.beside.scores import Scorer, read_scores
from distill.library.prepared import PreparedLibrary
from distill.library.shard import read_facts
from distill.models.model_store import read_card
from distill.screen.saved_model import SavedModel
from teacher import strict_json
from teacher.chemistry.molecule import parse
from teacher.errors import UsageError
from teacher.nn.text_encoder import MINILM
from tests.support.encoders import random_encoder
from tests.support.models import untrained_student
from tests.support.prepared import library_of

ALCOHOLS = ["C" * length + "O" for length in range(1, 13)]


@pytest.fixture
def library(tmp_path: Path) -> PreparedLibrary:
    """Two shards of six alcohols."""
    return library_of(tmp_path / "library", [ALCOHOLS[:6], ALCOHOLS[6:]])


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The molecules that a pre-trained network was asked about; it cannot read CCO."""
    asked: list[str] = []
    embed = molecule_vectors.pretrained_vectors

    def listening(kind: molecule_vectors.VectorKind, smiles: Sequence[str], encoder: str, workers: int) -> np.ndarray:
        asked.extend(smiles)
        vectors = embed(kind, smiles, encoder, workers)
        vectors[[each == "CCO" for each in smiles]] = np.nan
        return vectors

    monkeypatch.setattr(molecule_vectors, "pretrained_vectors", listening)
    return asked


def digest_of(library: PreparedLibrary, number: int) -> str:
    facts = read_facts(library.shard(number))
    assert facts is not None
    return facts.digest


def test_a_molecule_is_embedded_once_however_many_teachers_read_its_vector(
    library: PreparedLibrary, embedded: list[str], tmp_path: Path
) -> None:
    teacher = untrained_student(tmp_path / "teacher", "smiles-encoder")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, rows in zip(folders, ([1, 4], range(6)), strict=True):
        folder.mkdir()
        Scorer(teacher, library.folder, folder).score(1, np.array(rows))
    assert sorted(embedded, key=len) == ALCOHOLS[6:]
    one, two = (read_scores(folder, 1, digest_of(library, 1)) for folder in folders)
    assert one is not None and two is not None
    assert np.allclose(one.prediction, two.of(one.rows).prediction, atol=1e-5)
    expected = SavedModel(teacher).predict([parse(each.encode()).mol for each in ALCOHOLS[6:]])
    assert np.allclose(two.prediction, expected, atol=1e-2)  # vectors are kept in half precision


def test_a_molecule_that_cannot_be_read_is_not_tried_again(
    library: PreparedLibrary, embedded: list[str], tmp_path: Path
) -> None:
    for _ in range(2):
        vectors = MoleculeVectors(library.folder, "smiles", MINILM)
        found = vectors.of(library.shard(0), 0, digest_of(library, 0), np.arange(3))
        assert np.isfinite(found).all(axis=1).tolist() == [True, False, True]
    assert embedded == ALCOHOLS[:3]


def test_vectors_take_two_bytes_a_number_beside_a_manifest_that_names_the_network(
    library: PreparedLibrary, tmp_path: Path
) -> None:
    MoleculeVectors(library.folder, "smiles", MINILM).of(library.shard(0), 0, digest_of(library, 0), np.arange(3))
    (folder,) = (library.folder / "vectors").iterdir()
    kept = read_rows(folder / "000000.safetensors", digest_of(library, 0))
    assert kept is not None and (kept["vector"].dtype, len(kept["vector"])) == (np.float16, 3)
    named = strict_json.read(dict[str, object], (folder / "manifest.json").read_bytes())
    assert (named["title"], named["licence"]) == (MINILM, "its own") and "data" in named


def test_vectors_of_an_encoder_whose_files_have_changed_are_not_read_as_the_new_ones(
    library: PreparedLibrary, tmp_path: Path
) -> None:
    found = []
    for seed in (0, 1):
        vectors = MoleculeVectors(library.folder, "smiles", random_encoder(tmp_path / "encoder", seed))
        found.append(vectors.of(library.shard(0), 0, digest_of(library, 0), np.arange(3)))
    assert not np.allclose(*found)


def test_a_model_is_refused_where_the_files_of_its_encoder_are_not_those_it_was_trained_by(
    library: PreparedLibrary, tmp_path: Path
) -> None:
    model = untrained_student(tmp_path / "teacher", "smiles-encoder", encoder=random_encoder(tmp_path / "encoder"))
    SavedModel(model)
    inputs = ModelInputs(read(tmp_path / "teacher" / "alcohols.csv", targets=["logS"]), None, tmp_path / "inputs")
    reading = replace(inputs, encoder=str(tmp_path / "encoder"))
    _check_reading(model, read_card(model), reading)
    random_encoder(tmp_path / "encoder", seed=1)
    (tmp_path / "scores").mkdir()
    for use in (
        lambda: SavedModel(model),
        lambda: _check_reading(model, read_card(model), reading),
        lambda: Scorer(model, library.folder, tmp_path / "scores").score(0, np.arange(3)),
    ):
        with pytest.raises(UsageError, match="is not the one that the model was trained by"):
            use()
    facts = json.loads((model / "card.json").read_text())
    del facts["encoder_version"]  # as cards from before
    (model / "card.json").write_text(json.dumps(facts))
    assert np.isfinite(SavedModel(model).predict([parse(b"CCO").mol])).all()


def test_what_is_known_of_rows_grows_and_what_is_there_stays(tmp_path: Path) -> None:
    file, first = tmp_path / "rows.safetensors", np.array([2, 5])
    add_rows(file, "these rows", {"rows": first, "value": np.array([0.2, 0.5])})
    both = add_rows(file, "these rows", {"rows": np.array([1, 2]), "value": np.array([0.1, 9.0])})
    read = read_rows(file, "these rows")
    assert read is not None
    for found in (both, read):
        assert (found["rows"].tolist(), found["value"].tolist()) == ([1, 2, 5], [0.1, 0.2, 0.5])
    assert read_rows(file, "other rows") is None
    file.write_bytes(file.read_bytes()[:-4])
    assert read_rows(file, "these rows") is None
