"""What an LLM predicts counts as much as validates best, and never where there is a measured label."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cluster.training.driver import TrainResources
from distill.data.dataset import read
from distill.data.guesses import Guesses
from distill.data.splits import split
from distill.learn import distillation
from distill.learn.distillation import PSEUDO_WEIGHTS, learn_pseudo_labels
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import recipe
from teacher.errors import UsageError
from teacher.tiny import library

LABELLED = 30


@pytest.fixture
def wider(tmp_path: Path) -> ModelInputs:
    """Classes of the first molecules, and an LLM that predicts all but the last ones."""
    path = tmp_path / "nci.csv"
    rows = [
        f"{smiles},{number % 2 if number < LABELLED else ''}" for number, smiles in enumerate(library.read(None)[:40])
    ]
    path.write_text("\n".join(["smiles,active", *rows]) + "\n")
    values = np.full(40, 0.75, dtype=np.float32)
    values[-3:] = np.nan
    return ModelInputs(read(path, targets=["active"]), None, tmp_path, guesses=Guesses(values, values, "spec", "sha"))


@pytest.fixture
def labelled(wider: ModelInputs, tmp_path: Path) -> ModelInputs:
    path = tmp_path / "labelled.csv"
    lines = (tmp_path / "nci.csv").read_text().splitlines()
    path.write_text("\n".join(lines[: LABELLED + 1]) + "\n")
    return ModelInputs(read(path, targets=["active"]), None, tmp_path, transfer=wider)


def test_predictions_are_logits_of_molecules_without_labels_alone(wider: ModelInputs) -> None:
    found = distillation.pseudo_labels(wider, LABELLED)
    assert np.isnan(found[:LABELLED]).all() and np.isnan(found[-3:]).all()
    assert found[LABELLED:-3, 0] == pytest.approx(np.log(3))  # 0.75 against 0.25


def test_a_number_far_outside_of_the_others_is_no_label(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text("\n".join(["smiles,y", *(f"{'C' * n},{n if n < 3 else ''}" for n in range(1, 13))]) + "\n")
    values = np.arange(12, dtype=np.float32)
    values[-1] = 22112
    guesses = Guesses(values, np.ones_like(values), "spec", "sha")
    found = distillation.pseudo_labels(ModelInputs(read(path, targets=["y"]), None, tmp_path, guesses=guesses), 2)[:, 0]
    assert np.isnan(found).tolist() == [True] * 2 + [False] * 9 + [True]


def test_the_weight_that_validates_best_is_taken_and_without_it_nothing_predicted_is_learnt(
    labelled: ModelInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = split(labelled.dataset, "random")
    fitted: list[Any] = []

    def fit_all(fit_set: Any, *_: Any) -> list[Any]:
        fitted.extend(fit_set.fits)
        return [SimpleNamespace(score=score, seconds=1.0) for score in (0.1, 0.9, 0.5, 0.2)]

    monkeypatch.setattr(distillation, "fit_all", fit_all)
    resources = TrainResources(workers=1)
    case = recipe("student-fingerprint"), parts, 0
    ((weight, outcome, tried),) = learn_pseudo_labels(labelled, [case], tmp_path, resources=resources)
    assert weight == PSEUDO_WEIGHTS[1] and outcome.score == 0.9 and len(tried) == len(PSEUDO_WEIGHTS)
    without, *others = fitted
    assert set(without.train) == set(parts.train) and set(without.targets) == {"labels"}
    predicted = set(range(LABELLED, 37))
    assert all(set(fit.train) == set(parts.train) | predicted and "soft.llm" in fit.targets for fit in others)
    silent = Guesses(np.full(40, np.nan, dtype=np.float32), np.zeros(40, dtype=np.float32), "spec", "sha")
    assert labelled.transfer is not None
    object.__setattr__(labelled.transfer, "guesses", silent)
    with pytest.raises(UsageError, match="predicts nothing of the transfer set"):
        learn_pseudo_labels(labelled, [case], tmp_path, resources=resources)
