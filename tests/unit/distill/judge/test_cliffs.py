"""Activity cliffs: which molecules form one, and how wrong methods are there."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from distill.data.dataset import Target
from distill.judge.cliff_errors import CliffRow, errors_on_cliffs
from distill.judge.cliffs import cliffs, within
from distill.judge.judged import Judged, JudgedSplit
from distill.judge.run import scored

SAME_SKELETON = ("CCCCN", "CCCCO")
LONG = "CC(C)Cc1ccc(C(C)C(=O)NCCN2CCOCC2)cc1"
SAME_TEXT = (LONG, LONG.replace("NCCN", "OCCN"))
ALONE = "c1ccc2ccccc2c1"


def flags(smiles: tuple[str, ...], labels: list[float]) -> list[bool]:
    found = cliffs(smiles, np.array(labels, dtype=np.float32)[:, None])
    assert found is not None
    return found[:, 0].tolist()


@pytest.mark.parametrize("pair", [SAME_SKELETON, SAME_TEXT])
def test_molecules_that_are_alike_and_measure_tenfold_form_a_cliff(pair: tuple[str, str]) -> None:
    assert flags((*pair, ALONE), [1.0, 2.0, 9.0]) == [True, True, False]
    assert flags((*pair, ALONE), [1.0, 1.9, 9.0]) == [False, False, False]
    assert flags((*pair, ALONE), [1.0, float("nan"), 9.0]) == [False, False, False]


def test_labels_one_unit_apart_form_a_cliff_however_float32_rounds_them() -> None:
    for tenths in range(-100, 100):
        assert flags((*SAME_SKELETON, ALONE), [tenths / 10, tenths / 10 + 1, 99.0]) == [True, True, False]


def test_targets_have_cliffs_of_their_own() -> None:
    found = cliffs(SAME_SKELETON, np.array([[1.0, 1.0], [3.0, 1.5]], dtype=np.float32))
    assert found is not None and found.tolist() == [[True, False], [True, False]]


def test_of_too_many_molecules_nobody_compares_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.judge.cliffs.MOST", 1)
    assert cliffs(SAME_SKELETON, np.zeros((2, 1), dtype=np.float32)) is None


def distance(one: str, other: str) -> int:
    """Levenshtein's distance by its definition."""
    if not one or not other:
        return len(one) + len(other)
    replaced = distance(one[1:], other[1:]) + (one[0] != other[0])
    return min(replaced, distance(one[1:], other) + 1, distance(one, other[1:]) + 1)


def test_a_bound_on_the_distance_is_that_of_its_definition() -> None:
    chance = random.Random(0)
    texts = ["".join(chance.choices("CNO", k=chance.randrange(6))) for _ in range(12)]
    for one, other in itertools.product(texts, texts):
        assert [within(one, other, most) for most in range(6)] == [distance(one, other) <= most for most in range(6)]


def test_errors_are_told_apart_by_cliffs() -> None:
    labels = np.array([[1.0], [3.0], [5.0], [6.0], [7.0]], dtype=np.float32)
    rows = np.arange(5)
    splits = [
        JudgedSplit(
            seed=seed, sha256=str(seed), learned=9, valid=rows[:2], test=test, similarity=np.zeros(5, dtype=np.float32)
        )
        for seed, test in enumerate([rows, rows[2:4]])
    ]
    of_cliff = np.array([[True], [True], [False], [False], [False]])
    smiles = ("C", "N", "O", "CC", "CCC")
    judged = Judged(
        name="set", smiles=smiles, labels=labels, targets=[Target("y", "regression")], splits=splits, cliffs=of_cliff
    )
    errors = np.array([[2.0], [2.0], [1.0], [1.0], [1.0]])
    runs = [
        scored(judged, split, labels + scale * errors, method=method, seed=split.seed)
        for method, scale in (("bad", 2.0), ("good", 1.0))
        for split in splits
    ]
    overall = float(np.sqrt((4 + 4 + 1 + 1 + 1) / 5))
    good, bad = errors_on_cliffs(judged, runs)  # the second split has no cliff in its test part
    assert good == CliffRow(
        method="good", cliff=pytest.approx(2), other=pytest.approx(1), overall=pytest.approx(overall)
    )
    assert (bad.method, bad.cliff) == ("bad", pytest.approx(4))


def test_errors_on_cliffs_and_on_others_have_one_unit_also_of_several_targets() -> None:
    labels = np.array([[0, 0], [1, 1000], [5, np.nan], [9, np.nan]], dtype=np.float32)  # the second: cliffs alone
    rows = np.arange(4)
    part = JudgedSplit(seed=0, sha256="", learned=9, valid=rows[:2], test=rows, similarity=np.zeros(4, np.float32))
    judged = Judged(
        name="set",
        smiles=("C", "N", "O", "CC"),
        labels=labels,
        targets=[Target("y", "regression"), Target("z", "regression")],
        splits=[part],
        cliffs=np.array([[True, True], [True, True], [False, False], [False, False]]),
    )
    errors = np.array([[2.0, 7.0], [2.0, 7.0], [1.0, 0.0], [1.0, 0.0]])
    (row,) = errors_on_cliffs(judged, [scored(judged, part, labels + errors, method="gin", seed=0)])
    unit = float(np.std([0, 1, 5, 9]))
    assert (row.cliff, row.other) == (pytest.approx(2 / unit), pytest.approx(1 / unit))
    assert row.overall == pytest.approx(np.sqrt(2.5) / unit)
