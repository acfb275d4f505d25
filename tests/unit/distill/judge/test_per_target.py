"""Each target is also told by itself, in its own unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distill.data.dataset import Dataset, read
from distill.data.splits import split
from distill.judge.judged import Judged, SeededSplit
from distill.judge.per_target import scores_by_target
from distill.judge.run import Run, scored
from distill.judge.summary import RMSE_THRESHOLD, summarize
from distill.report.comparison import write
from teacher.tiny import library


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two targets whose units are a thousand apart."""
    path = tmp_path_factory.mktemp("data") / "qm.csv"
    rows = [f"{smiles},{number % 7},{1000 * (number % 5)}" for number, smiles in enumerate(library.read(None)[:60])]
    path.write_text("\n".join(["smiles,gap,energy", *rows]) + "\n")
    return read(path, targets=["gap", "energy"])


def told(judged: Judged, name: str, errors: tuple[float, float]) -> Run:
    said = judged.labels.astype(np.float64) + errors
    return scored(judged, judged.splits[0], said, method=name, seed=0)


def test_each_target_is_told_in_its_own_unit_and_neither_decides_alone(dataset: Dataset, tmp_path: Path) -> None:
    judged = Judged.of(dataset, [SeededSplit(seed=0, split=split(dataset, "random"))])
    runs = [told(judged, "lm", (1.0, 10.0)), told(judged, "gin", (0.1, 100.0))]
    rows = {row.method: row.scores for row in scores_by_target(judged, runs)}
    assert rows["lm"] == {"gap": pytest.approx(1), "energy": pytest.approx(10, rel=1e-4)}
    assert rows["gin"] == {"gap": pytest.approx(0.1), "energy": pytest.approx(100, rel=1e-4)}
    summary = summarize(judged, runs)
    assert summary.best.method == "gin"  # averaged as they are, the larger unit would have decided
    assert summary.threshold == RMSE_THRESHOLD
    one = Judged.of(read_one(tmp_path), [SeededSplit(seed=0, split=split(read_one(tmp_path), "random"))])
    assert scores_by_target(one, []) == []


def test_the_page_and_the_json_hold_them(dataset: Dataset, tmp_path: Path) -> None:
    from distill.evaluate.provenance import provenance
    from distill.learn.inputs import ModelInputs

    cases = [SeededSplit(seed=0, split=split(dataset, "random"))]
    judged = Judged.of(dataset, cases)
    runs = [told(judged, "lm", (1.0, 10.0)), told(judged, "gin", (0.1, 100.0))]
    made_of = provenance(ModelInputs(dataset, None, tmp_path), cases, trials=0)
    page = write(tmp_path, judged, runs, summarize(judged, runs), made_of=made_of).read_text()
    assert "Each target by itself" in page and "<td>100.000</td>" in page
    assert '"energy": 1' in (tmp_path / "table.json").read_text()


def read_one(folder: Path) -> Dataset:
    path = folder / "one.csv"
    path.write_text("smiles,gap\n" + "".join(f"{'C' * size},{size}\n" for size in range(1, 21)))
    return read(path, targets=["gap"])
