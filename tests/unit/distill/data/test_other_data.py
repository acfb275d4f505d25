"""Results of one dataset never take the place of another's unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill.data.dataset import Dataset, read
from distill.models.model_store import refuse_other_data
from teacher.errors import UsageError


def dataset(path: Path, labels: str) -> Dataset:
    path.write_text("smiles,y\n" + "".join(f"{'C' * int(label)},{label}\n" for label in labels))
    return read(path, targets=["y"])


@pytest.mark.parametrize("file", ["dmpnn/card.json", "table.json"])
def test_results_of_another_dataset_are_not_overwritten(tmp_path: Path, file: str) -> None:
    march, april = dataset(tmp_path / "2024.03_screen.csv", "123"), dataset(tmp_path / "2024.04_screen.csv", "456")
    assert (march.name, april.name) == ("2024.03_screen", "2024.04_screen")
    results = tmp_path / "results" / file
    results.parent.mkdir(parents=True)
    results.write_text(json.dumps({"dataset": {"name": march.name, "sha256": march.sha256}}))
    refuse_other_data(tmp_path / "results", march)
    with pytest.raises(UsageError, match=r"results of 2024\.03_screen with other molecules or labels.*--overwrite"):
        refuse_other_data(tmp_path / "results", april)
    results.write_text("{")
    refuse_other_data(tmp_path / "results", april)
    refuse_other_data(tmp_path / "nowhere", april)
