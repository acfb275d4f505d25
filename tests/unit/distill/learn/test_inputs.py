"""What teachers read beside a student's features."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.data.annotations import Annotations
from distill.data.dataset import read
from distill.data.splits import Split, split
from distill.features.scaled_vectors import ScaledVectors
from distill.features.vectors import Scaler
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import recipe
from distill.rules.rule_set import RuleSet
from distill.rules.values import rule_values
from teacher.errors import UsageError
from teacher.nn.inputs import Matrix
from teacher.nn.text_encoder import MINILM, format_text
from teacher.provenance import digest
from tests.support.encoders import random_encoder

READS_SMILES = recipe("smiles-encoder")
WIDTH = 384  # of MiniLM


@pytest.fixture(scope="module")
def model_inputs(tmp_path_factory: pytest.TempPathFactory) -> ModelInputs:
    folder = tmp_path_factory.mktemp("data")
    rows = [f"{'C' * carbons}O,{carbons}" for carbons in range(1, 31)]
    (folder / "alcohols.csv").write_text("\n".join(["smiles,carbons", *rows]) + "\n")
    return ModelInputs(read(folder / "alcohols.csv", targets=["carbons"]), None, folder / "inputs")


@pytest.fixture(scope="module")
def parts(model_inputs: ModelInputs) -> Split:
    return split(model_inputs.dataset, "random")


def test_a_pre_trained_networks_vectors_stand_behind_the_students_features(
    model_inputs: ModelInputs, parts: Split
) -> None:
    vectors = model_inputs.vectors(READS_SMILES)
    features = model_inputs.vectors(recipe("student-fingerprint"))
    assert np.array_equal(vectors[:, :-WIDTH], features, equal_nan=True)
    assert len(np.unique(vectors[:, -1])) == len(vectors)
    name, inputs = model_inputs.inputs(READS_SMILES, parts)
    assert isinstance(inputs, ScaledVectors)
    assert inputs.width == len(model_inputs.scaler(READS_SMILES, parts).keep) > WIDTH
    beside = inputs.batch(parts.train)[:, -WIDTH:]
    assert beside.mean(dim=0).abs().max() < 0.1  # on the scale of the training part
    other, _ = replace(model_inputs, encoder="another").inputs(recipe("student-fingerprint"), parts)
    assert name not in (other, model_inputs.inputs(recipe("student-fingerprint"), parts)[0])


@pytest.mark.parametrize("name", ["student-fingerprint", "smiles-encoder", "gin"])
def test_what_inputs_depend_on_is_named_without_computing_them(
    model_inputs: ModelInputs, parts: Split, tmp_path: Path, name: str
) -> None:
    untouched = replace(model_inputs, folder=tmp_path / "inputs")
    named = untouched.inputs_name(recipe(name), parts)
    assert not untouched.folder.exists()
    assert named == model_inputs.inputs(recipe(name), parts)[0]


@pytest.mark.parametrize("name", ["student-fingerprint", "smiles-encoder"])
def test_splits_share_the_vectors_and_have_scales_of_their_own(model_inputs: ModelInputs, name: str) -> None:
    many = [split(model_inputs.dataset, "random", seed=seed) for seed in range(8)]
    read = [model_inputs.inputs(recipe(name), each)[1] for each in many]
    assert len(pickle.dumps(read)) < 2 * len(pickle.dumps(read[0]))
    for parts, inputs in zip(many, read, strict=True):
        scaled = Scaler.fit(model_inputs.vectors(recipe(name))[parts.train]).transform(
            model_inputs.vectors(recipe(name))
        )
        assert np.array_equal(inputs.batch(parts.test), scaled[parts.test])
        assert np.array_equal(inputs.take(parts.test).batch(np.arange(3)), scaled[parts.test][:3])


def test_molecules_that_a_pre_trained_network_cannot_read_are_left_out(
    model_inputs: ModelInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(kind: str, smiles: list[str], *_: object) -> np.ndarray:
        vectors = np.ones((len(smiles), 3), dtype=np.float32)
        vectors[4] = np.nan
        return vectors

    monkeypatch.setattr("distill.learn.inputs.pretrained_vectors", embed)
    readable = replace(model_inputs, folder=tmp_path).readable_by(READS_SMILES)
    assert np.flatnonzero(~readable).tolist() == [4]
    assert model_inputs.readable_by(recipe("dmpnn")).all()


def test_what_a_network_was_pre_trained_on_is_told_of_teachers_that_read_it(model_inputs: ModelInputs) -> None:
    assert model_inputs.pretraining(READS_SMILES.pretrained)["title"] == "minilm"
    assert model_inputs.pretraining(recipe("dmpnn").pretrained) == {}


def test_rules_are_read_alone_or_behind_the_students_features(model_inputs: ModelInputs, parts: Split) -> None:
    given = [{"descriptor": "MolWt"}, {"smarts": "[CH3]"}, {"smarts": "[OX2H]"}]
    with_rules = replace(model_inputs, rules=RuleSet.collected("length", given, {}))
    values = with_rules.vectors(recipe("rules"))
    assert values.shape == (30, 3) and values[:, 2].tolist() == [1] * 30
    beside = with_rules.vectors(recipe("rules-beside"))
    assert np.array_equal(beside[:, -3:], values) and beside.shape[1] > 2048
    name, inputs = with_rules.inputs(recipe("rules"), parts)
    assert isinstance(inputs, ScaledVectors)
    read = inputs.batch(np.arange(30))
    assert read.shape == (30, inputs.width) == (30, 1)  # what all molecules have alike tells nothing
    assert read[parts.train].mean().item() == pytest.approx(0, abs=1e-5)
    other = replace(model_inputs, rules=RuleSet.collected("length", given[:2], {}))
    assert other.inputs(recipe("rules"), parts)[0] != name


def test_rules_in_another_order_are_other_columns_of_other_fits(model_inputs: ModelInputs, parts: Split) -> None:
    given = [{"descriptor": "MolWt"}, {"smarts": "[CH2]"}, {"descriptor": "TPSA"}]
    in_order = RuleSet.collected("length", given, {})
    turned = RuleSet.collected("length", given[::-1], {})
    assert in_order.digest == turned.digest
    names = []
    for rules in (in_order, turned):
        with_rules = replace(model_inputs, rules=rules)
        values = rule_values(model_inputs.dataset.mols(), rules.rules)
        assert np.array_equal(with_rules.vectors(recipe("rules")), values)
        assert np.array_equal(with_rules.vectors(recipe("rules-beside"))[:, -3:], values)
        names += [with_rules.inputs(recipe(name), parts)[0] for name in ("rules", "rules-beside")]
    assert len(set(names)) == 4


def test_controls_of_rules_keep_their_number_or_their_values(model_inputs: ModelInputs) -> None:
    with_rules = replace(model_inputs, rules=RuleSet.collected("length", [{"descriptor": "MolWt"}], {}))
    values = with_rules.vectors(recipe("rules"))
    shuffled = with_rules.vectors(recipe("rules-shuffled"))[:, -1:]
    assert sorted(shuffled[:, 0]) == sorted(values[:, 0]) and not np.array_equal(shuffled, values)
    assert with_rules.vectors(recipe("rules-random")).shape == (30, 1)
    assert with_rules.vectors(recipe("rules-all")).shape[1] > 200
    with pytest.raises(UsageError, match="needs rules: name their file by --rules"):
        model_inputs.vectors(recipe("rules"))


def test_embeddings_are_those_of_the_molecules_that_have_the_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(texts: list[str], _encoder: str) -> np.ndarray:
        return np.array([[sum(text.encode())] for text in texts], dtype=np.float32)

    monkeypatch.setattr("distill.learn.inputs.embed", embed)
    texts = Annotations(("a chain",) * 12, "spec", "sha256 of the texts")
    found = {}
    for end in "ON":
        file = tmp_path / f"{end}.csv"
        file.write_text("smiles,y\n" + "".join(f"{'C' * carbons}{end},{carbons}\n" for carbons in range(1, 13)))
        model_inputs = ModelInputs(read(file, targets=["y"]), texts, tmp_path / "inputs")
        name, inputs = model_inputs.inputs(recipe("lm"), split(model_inputs.dataset, "random"))
        assert isinstance(inputs, Matrix)
        found[name] = inputs.values[:, 0]
    alcohols, amines = found.values()  # under two names
    assert (alcohols - amines).tolist() == [1] * 12  # "O" is the letter behind "N"


def test_what_an_encoder_in_a_folder_has_read_is_read_anew_once_its_files_change(
    model_inputs: ModelInputs, parts: Split, tmp_path: Path
) -> None:
    smiles = model_inputs.dataset.smiles
    told = Annotations(("an alcohol",) * len(smiles), "spec", "of the texts")
    names = []
    for seed in (0, 1):
        encoder = random_encoder(tmp_path / "encoder", seed)
        reading = replace(model_inputs, annotations=told, encoder=encoder)
        names.append([reading.inputs_name(recipe(name), parts) for name in ("lm", "lm-fine-tuned", "smiles-encoder")])
    assert not set(names[0]) & set(names[1])
    by_name = replace(model_inputs, annotations=told).inputs_name(recipe("lm"), parts)
    texts = [format_text(each, "an alcohol") for each in smiles]
    assert by_name == f"embeddings.{digest([MINILM, told.sha256, texts], 16)}"  # as it has ever been
