"""Comparisons with fewer labels: who is drawn, and out of which parts."""

from __future__ import annotations

import numpy as np
import pytest

from distill.data.dataset import Dataset, read
from distill.data.splits import Split, split
from distill.judge.curve import LEAST, with_fewer_labels
from teacher.errors import UsageError

MOLECULES = 200
POSITIVE = 190  # the rows from here on


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Chains, of which the longest are positive, and every seventh has no label."""
    path = tmp_path_factory.mktemp("data") / "rare.csv"
    rows = [f"{'C' * (row + 1)},{'' if row % 7 == 6 else int(row >= POSITIVE)}" for row in range(MOLECULES)]
    path.write_text("\n".join(["smiles,y", *rows]) + "\n")
    return read(path, targets=["y"])


@pytest.fixture(scope="module")
def parts(rare: Dataset) -> Split:
    return split(rare, "random", seed=3)


def test_so_many_labels_are_divided_as_the_parts_are_and_the_test_part_stays(rare: Dataset, parts: Split) -> None:
    few = with_fewer_labels(parts, rare, 90, seed=1)
    assert (len(few.train), len(few.valid)) == (80, 10)
    assert set(few.train) <= set(parts.train) and set(few.valid) <= set(parts.valid)
    assert few.test is parts.test
    assert not np.isnan(rare.labels[np.concatenate([few.train, few.valid])]).any()
    assert len({parts.sha256, few.sha256, with_fewer_labels(parts, rare, 90, seed=2).sha256}) == 3


def test_fewer_are_among_more_and_hold_both_classes(rare: Dataset, parts: Split) -> None:
    for seed in range(20):
        few, more = (with_fewer_labels(parts, rare, labels, seed) for labels in (LEAST, 60))
        assert set(few.train) < set(more.train) and set(few.valid) < set(more.valid)
        assert set(rare.labels[few.train, 0]) == {0, 1}


@pytest.mark.parametrize("labels", [LEAST - 1, MOLECULES])
def test_labels_that_nobody_has_are_refused(rare: Dataset, parts: Split, labels: int) -> None:
    with pytest.raises(UsageError, match=rf"--labels {labels}: a number from {LEAST} to \d+ is possible"):
        with_fewer_labels(parts, rare, labels, seed=0)
