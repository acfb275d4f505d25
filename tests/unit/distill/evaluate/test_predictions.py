"""Predictions of baselines, kept for a comparison that is started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.data.dataset import read
from distill.data.splits import split
from distill.evaluate.baselines.catalog import BASELINES, baseline
from distill.evaluate.predictions import CachedPredictions
from distill.learn.inputs import ModelInputs


def test_predictions_are_kept_for_the_versions_that_made_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{'C' * length}O,{length}" for length in range(1, 31)]
    (tmp_path / "alcohols.csv").write_text("\n".join(["smiles,carbons", *rows]) + "\n")
    inputs = ModelInputs(read(tmp_path / "alcohols.csv", targets=["carbons"]), None, tmp_path / "inputs")
    kept = CachedPredictions(tmp_path / "kept", baseline("lightgbm"), inputs)
    parts = split(inputs.dataset, "random")
    for made in (1, 1):
        kept.predict(parts, 0)
        assert len(list(kept.folder.iterdir())) == made
    monkeypatch.setattr("distill.evaluate.predictions.installed", lambda _: {"lightgbm": "another"})
    kept.predict(parts, 0)
    assert len(list(kept.folder.iterdir())) == 2


def test_baselines_of_this_environment_name_what_learns_them() -> None:
    of_another = {"chemprop"}  # whose command comes from an environment of its own
    assert {name for name, known in BASELINES.items() if not known.packages} == of_another
