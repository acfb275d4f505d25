import math

import numpy as np
import pytest

from distill.evaluate.comparison import Run
from distill.evaluate.methods import METHODS, defaults, method
from distill.evaluate.summary import summarize
from teacher.errors import UsageError


def run(name: str, seed: int, rmse: float, chosen: str | None = None) -> Run:
    return Run(method=name, seed=seed, valid=rmse, test={"rmse": rmse}, prediction=np.zeros((0, 1)), chosen=chosen)


def test_rows_sum_up_the_seeds() -> None:
    (row,) = summarize([run("a", 0, 1.0, "atoms"), run("a", 1, 2.0, "fingerprint")], "regression")
    assert (row.mean, row.seeds, row.chosen) == (1.5, 2, {"atoms": 1, "fingerprint": 1})
    assert row.std == pytest.approx(0.7071, abs=1e-4)
    assert row.difference is None and not row.differs


def test_a_difference_is_paired_by_seed_and_has_students_interval() -> None:
    gains = [0.10, 0.12, 0.14]
    runs = [run("a", seed, 1.0 + seed) for seed in range(3)]
    runs += [run("b", seed, 1.0 + seed + gain) for seed, gain in enumerate(gains)]
    _, row = summarize(runs, "regression", "a")
    assert row.difference == pytest.approx(0.12)
    half = 4.302653 * 0.02 / 3**0.5  # the 97.5 % quantile of Student's t with two degrees of freedom
    assert row.interval == pytest.approx((0.12 - half, 0.12 + half), abs=1e-5)
    assert row.differs == "worse"


def test_only_seeds_that_both_have_are_compared() -> None:
    _, row = summarize([run("a", 0, 1.0), run("a", 1, 9.0), run("b", 0, 1.5)], "regression", "a")
    assert row.difference == pytest.approx(0.5)
    assert row.interval is None and not row.differs


def test_rows_that_need_what_is_not_there_are_left_out() -> None:
    textless = defaults(with_texts=False, with_transfer_set=True)
    assert not any(name.startswith("lm") or name in ("gallon", "student+both") for name in textless)
    assert {"student+gnn", "student+gnn+transfer"} <= set(textless)
    assert not any(name.endswith("transfer") for name in defaults(with_texts=True, with_transfer_set=False))
    everything = defaults(with_texts=True, with_transfer_set=True)
    assert set(METHODS) - set(everything) == {"chemprop", "lm-fine-tuned", "mmf", "e-llagnn"}


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UsageError, match="no method 'svm': choose out of random_forest"):
        method("svm")


def test_only_seeds_that_can_be_scored_count() -> None:
    runs = [run(name, seed, rmse) for name in ("a", "b") for seed, rmse in ((0, 1.0), (1, math.nan), (2, 3.0))]
    rows = summarize(runs, "regression", "a")
    assert [(row.mean, row.valid, row.seeds) for row in rows] == [(2.0, 2.0, 2)] * 2
    assert rows[1].difference == 0


def test_a_row_that_no_seed_can_score_has_no_mean() -> None:
    rows = summarize([run(name, seed, math.nan) for name in ("a", "b") for seed in range(2)], "regression", "a")
    assert all(math.isnan(row.mean) and math.isnan(row.valid) and row.seeds == 0 for row in rows)
    assert rows[1].difference is None and not rows[1].differs
