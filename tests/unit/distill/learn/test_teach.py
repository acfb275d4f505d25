"""How good teachers are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distill.data.dataset import read
from distill.data.splits import split
from distill.learn.inputs import ModelInputs
from distill.learn.teach import judged


def test_a_target_that_a_teacher_has_not_learned_leaves_the_scores_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "alcohols.csv"
    file.write_text("smiles,carbons,oxygens\n" + "".join(f"{'C' * n}O,{n},{n % 3}\n" for n in range(1, 41)))
    dataset = read(file, targets=["carbons", "oxygens"])
    parts = split(dataset, "random")
    prediction = (dataset.labels + np.float32(0.5)).astype(np.float32)
    prediction[:, 1] = np.nan
    prediction[parts.test[0]] = np.nan  # a molecule that it cannot read
    found = judged(ModelInputs(dataset, None, tmp_path), parts, prediction)
    rows = parts.test[1:]
    assert found["test"]["targets"] == found["test"]["left_out"] == 1
    spread = float(np.std(dataset.labels[rows, 0]))
    assert found["test"]["rmse"] == pytest.approx(0.5 / spread)
