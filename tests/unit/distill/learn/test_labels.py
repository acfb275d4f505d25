"""What is told about labels before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from distill.data.dataset import Dataset, Target, read
from distill.data.splits import split
from distill.learn.fits import Batch
from distill.learn.inputs import ModelInputs
from distill.learn.labels import check
from distill.learn.metrics import score
from distill.learn.objective import Scale
from distill.learn.recipes import recipe
from distill.learn.teacher_outputs import CrossFitPlan
from teacher.errors import UsageError

PLAIN = ["1.5", "2.5", "3.5", "4.5", "5.5"]


def dataset_of(folder: Path, train: Sequence[str], valid: Sequence[str], test: Sequence[str]) -> Dataset:
    """Return a dataset of alkanes with these labels, and a column that divides them."""
    parts = {"train": train, "valid": valid, "test": test}
    labels = [(label, name) for name, cells in parts.items() for label in cells]
    rows = [f"{'C' * length},{label},{name}" for length, (label, name) in enumerate(labels, start=1)]
    (folder / "data.csv").write_text("\n".join(["smiles,y,part", *rows]) + "\n")
    return read(folder / "data.csv", targets=["y"], split_column="part")


def told(dataset: Dataset) -> list[str]:
    return check(split(dataset, "column"), dataset)


def test_what_can_be_judged_is_not_spoken_of(tmp_path: Path) -> None:
    assert told(dataset_of(tmp_path, PLAIN, ["1.5", "7"], ["2", "3"])) == []
    assert told(dataset_of(tmp_path, ["0", "1"], ["1", "0"], ["0", "1"])) == []


def test_one_class_is_an_error_in_training_and_a_warning_elsewhere(tmp_path: Path) -> None:
    valid, test, subset = told(dataset_of(tmp_path, ["1", "0"], ["1", "1"], ["", ""]))
    assert valid == "The valid part has only the class 1 of 'y', so it cannot be scored there."
    assert "test part has no labels" in test
    assert "the epochs that are kept are chosen by the loss" in subset
    with pytest.raises(UsageError, match=r"training part .* has only the class 1"):
        told(dataset_of(tmp_path, ["1", "1"], ["0", "1"], ["0", "1"]))


def test_one_number_cannot_be_scored(tmp_path: Path) -> None:
    valid, subset = told(dataset_of(tmp_path, PLAIN, ["1.5", ""], ["2", "3"]))
    assert "valid part has one label only of 'y'" in valid
    assert "chosen by the loss" in subset


@pytest.mark.parametrize("train", [["3", "3", "3"], ["3"], ["", ""]])
def test_a_training_part_without_two_values_is_refused(tmp_path: Path, train: Sequence[str]) -> None:
    with pytest.raises(UsageError, match="The training part of the column split of data has"):
        told(dataset_of(tmp_path, train, ["1", "2"], ["4", "5"]))


@pytest.mark.parametrize("outlier", ["1e30", "-1e30", "3e38"])
@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_a_label_beside_which_no_other_can_be_told_apart_is_refused(tmp_path: Path, outlier: str, part: str) -> None:
    parts = {"train": PLAIN, "valid": PLAIN, "test": PLAIN}
    with pytest.raises(UsageError, match=r"The label -?[13]e\+3[08] of 'y' \(C+\) is so far from the others"):
        told(dataset_of(tmp_path, **{**parts, part: [*PLAIN, outlier]}))


def test_two_such_labels_are_refused_as_well(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is so far from the others"):
        told(dataset_of(tmp_path, ["1e30", *PLAIN, "-1e30"], PLAIN, PLAIN))


@pytest.mark.parametrize(
    "labels",
    [["1e30", "2e30", "4e30"], ["1e-30", "2e-30", "4e-30"], ["1000001", "1000002", "1000003"], [*PLAIN, "1e4"]],
)
def test_labels_of_any_size_can_be_learnt(tmp_path: Path, labels: Sequence[str]) -> None:
    dataset = dataset_of(tmp_path, labels, labels, labels)
    assert told(dataset) == []
    scale = Scale.of(dataset.labels, dataset.targets)
    assert np.isfinite([*scale.means, *scale.deviations]).all()
    scores = score("regression", dataset.labels, dataset.labels[::-1])
    assert np.isfinite(list(scores.values())).all()


def test_units_are_finite_where_there_is_nothing_to_learn() -> None:
    for kind in ("classification", "regression"):
        labels = np.array([[np.nan, 1.0], [np.nan, 1.0]], dtype=np.float32)
        scale = Scale.of(labels, [Target("a", kind), Target("b", kind)])
        assert np.isfinite([*scale.means, *scale.deviations, *scale.positive_weights]).all()


def test_a_network_of_one_molecule_is_refused(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, ["1", "2", "3"], ["1", "2"], ["1", "2"])
    model_inputs, parts = ModelInputs(dataset, None, tmp_path), split(dataset, "column")
    plan = CrossFitPlan.of(recipe("gin"), model_inputs, parts, seed=0, number=2)
    with pytest.raises(UsageError, match=r"gin without fold 1 has 1 labelled molecule to learn from, and needs 2"):
        plan.add_to(Batch(model_inputs))
