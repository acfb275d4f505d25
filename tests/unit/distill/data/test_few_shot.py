"""The LLM as a predictor: what its prompt may show, and what its answers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gallon
from distill.data.annotations import Annotations
from distill.data.dataset import Dataset, read
from distill.data.few_shot import few_shot_prompt, refuse_test_examples
from distill.data.guesses import Guesses, fences
from distill.data.splits import Split, split
from teacher.chemistry.molecule import parse
from teacher.errors import UsageError
from teacher.llm.prompt import load
from teacher.llm.shots import all_examples, examples_for
from tests.support.molecules import write_chains

SHOTS = 3
LABELS = {"target": "length", "split": "random", "smiles_column": "smiles"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chains(tmp_path_factory.mktemp("data") / "chains.csv")


@pytest.fixture(scope="module")
def dataset(table: Path) -> Dataset:
    return read(table, targets=["length"])


@pytest.fixture(scope="module")
def parts(dataset: Dataset) -> Split:
    return split(dataset, "random", seed=0)


def test_a_prompt_shows_no_molecule_of_the_validation_and_the_test_part(
    table: Path, dataset: Dataset, parts: Split, tmp_path: Path
) -> None:
    prompt = load(str(gallon.few_shot_prompt(table, **LABELS, out=tmp_path / "few-shot.yaml", shots=SHOTS)))
    shown = {parse(shot.smiles.encode()).key for shot in all_examples(prompt.shots)}
    assert shown == {dataset.keys[row] for row in parts.train}
    refuse_test_examples(prompt, dataset, [parts])
    with pytest.raises(UsageError, match="labels of the validation or the test part in sight"):
        refuse_test_examples(prompt, dataset, [split(dataset, "random", seed=1)])
    with pytest.raises(UsageError, match="nobody knows what it showed"):
        refuse_test_examples(None, dataset, [parts])


def test_a_molecule_is_none_of_its_own_examples_which_are_the_most_similar_ones(
    table: Path, dataset: Dataset, parts: Split, tmp_path: Path
) -> None:
    prompt = load(str(gallon.few_shot_prompt(table, **LABELS, out=tmp_path / "few-shot.yaml", shots=SHOTS)))
    for row in (int(parts.train[0]), int(parts.test[0])):
        shots = examples_for(prompt.shots, dataset.smiles[row])
        assert len(shots) == SHOTS and dataset.smiles[row] not in {shot.smiles for shot in shots}
    end = dataset.smiles[int(parts.test[0])][-1]
    nearest = examples_for(prompt.shots, dataset.smiles[int(parts.test[0])])[-1]
    assert end in nearest.smiles
    assert dict(nearest.answer)["prediction"] == len(nearest.smiles) - 1  # type: ignore[arg-type]


def test_a_prompt_is_of_one_property_and_needs_enough_molecules(dataset: Dataset, parts: Split) -> None:
    with pytest.raises(UsageError, match=r"There are 32 labelled molecules to take 32 examples from"):
        few_shot_prompt(dataset, parts, shots=32)
    told = few_shot_prompt(dataset, parts, shots=SHOTS, question="How long is it?")
    assert "How long is it?" in told["instructions"] and "'length'" in told["instructions"]


def test_answers_are_numbers_with_doubt_or_nothing() -> None:
    texts = (
        '{"prediction": 2.5, "confidence": "high"}',
        '{"prediction": 4.5, "confidence": "low"}',
        '{"prediction": "4", "confidence": "low"}',
        '{"prediction": true}',
        '{"prediction": 1e99, "confidence": "low"}',
        "about four",
        "[4]",
        None,
        '{"prediction": 6.5}',
    )
    guesses = Guesses.of(Annotations(texts, "spec", "sha"))
    assert np.isnan(guesses.values).tolist() == [False, False, *[True] * 6, False]
    assert guesses.values[[0, 1, 8]].tolist() == [2.5, 4.5, 6.5]
    assert guesses.confidence[[0, 1, 8]].tolist() == [1.0, 0.0, 0.5]
    features = guesses.features(np.array([0, 1, 5]), "regression")  # their mean is 3.5, their deviation 1
    assert features[[0, 1, 8]].tolist() == [[-1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [3.0, 0.5, 1.0]]
    assert not features[2:8].any()


def test_one_absurd_number_leaves_the_others_apart() -> None:
    values = np.array([-3.0, -2.0, -1.0, 0.0, 22112.0, np.nan], dtype=np.float32)
    guesses, train = Guesses(values, np.ones_like(values), "spec", "sha"), np.arange(6)
    read = guesses.features(train, "regression")[:, 0]
    assert read[3] - read[0] > 0.5 and read[4] == read.max() and np.isfinite(read).all()
    sure = np.array([0.9] * 9 + [0.85, 0.95, 0.0], dtype=np.float32)  # a probability is never far outside
    guesses = Guesses(sure, np.ones_like(sure), "spec", "sha")
    read = guesses.features(np.arange(12), "classification")[:, 0]
    assert (read[0] - read[11]) / read.std() == pytest.approx(0.9 / sure.std(), rel=1e-3)


def test_where_both_quartiles_are_one_number_none_is_far_outside() -> None:
    assert fences(np.array([2.0, 2.0, 2.0, 2.0, 5.0])) == (-np.inf, np.inf)
    assert fences(np.array([np.nan])) == (-np.inf, np.inf)
    assert fences(np.array([0.0, 1.0, 2.0, 3.0, 4.0])) == (-5.0, 9.0)
