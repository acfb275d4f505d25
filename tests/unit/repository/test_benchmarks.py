"""The benchmarks fit the code that they measure."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster.training.group import ProcessGroup, shard_of
from distill.data.dataset import read
from distill.data.splits import split
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import recipe
from tests.benchmarks.epoch_choice import Recorded

BENCHMARKS = sorted(
    file.stem for file in Path(__file__).parents[2].joinpath("benchmarks").glob("*.py") if file.stem != "__init__"
)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_finds_all_that_it_imports(name: str) -> None:
    assert importlib.import_module(f"tests.benchmarks.{name}").main


def test_the_study_of_epochs_asks_the_weights_that_it_names(tmp_path: Path) -> None:
    rows = [f"{'C' * carbons}O,{carbons}" for carbons in range(1, 31)]
    (tmp_path / "alcohols.csv").write_text("\n".join(["smiles,carbons", *rows]) + "\n")
    dataset = read(tmp_path / "alcohols.csv", targets=["carbons"])
    parts, known = split(dataset, "random"), recipe("gin")
    batch = Batch(ModelInputs(dataset, None, tmp_path))
    small = replace(known, settings={**known.settings, "width": 8}, schedule=replace(known.schedule, epochs=30))
    batch.add(small, parts, 0)
    alone = ProcessGroup(0, 1, "cpu")
    shard = shard_of(batch.fit_set.fits, batch.fit_set.inputs, batch.fit_set.columns, alone)
    recorded = Recorded(batch.fit_set.fits[0], shard, alone, tmp_path, parts)
    recorded.run()
    last, moving, mean = (recorded.said[of][-1][1] for of in ("weights", "moving", "mean"))
    assert np.array_equal(last, recorded._predict(parts.test)[0])
    assert not np.allclose(last, moving) and not np.allclose(last, mean) and not np.allclose(moving, mean)
