"""Linear baselines: what validates best is kept, and what is missing costs no molecule."""

from __future__ import annotations

import numpy as np
import pytest

from distill.evaluate.baselines.baseline import Examples
from distill.evaluate.baselines.linear import PENALTIES, fit_linear

DRAW = np.random.default_rng(0)
INPUTS = DRAW.normal(size=(60, 40)).astype(np.float32)
NUMBERS = INPUTS[:, :1] + 0.5 * DRAW.normal(size=(60, 1)).astype(np.float32)
CLASSES = (INPUTS[:, :1] > 0).astype(np.float32)
TRAIN, VALID, TEST = slice(0, 30), slice(30, 45), slice(45, 60)


def examples(rows: slice, labels: np.ndarray) -> Examples:
    return Examples(INPUTS[rows], labels[rows])


def of_penalty(penalty: float | None, labels: np.ndarray, kind: str) -> np.ndarray:
    fitted = fit_linear(
        examples(TRAIN, labels), examples(VALID, labels), kind=kind, settings={"penalty": penalty}, seed=0
    )
    return fitted.predict(INPUTS)


@pytest.mark.parametrize(("labels", "kind"), [(NUMBERS, "regression"), (CLASSES, "classification")])
def test_the_penalty_is_the_one_that_validates_best(labels: np.ndarray, kind: str) -> None:
    def loss(found: np.ndarray) -> float:
        if kind == "regression":
            return float(((found - labels)[VALID] ** 2).mean())
        return float(-np.log(np.where(labels == 1, found, 1 - found)[VALID]).mean())

    losses = [loss(of_penalty(each, labels, kind)) for each in PENALTIES]
    best = int(np.argmin(losses))
    assert 0 < best < len(PENALTIES) - 1  # else any order would do
    assert np.allclose(of_penalty(None, labels, kind), of_penalty(PENALTIES[best], labels, kind))


def test_a_missing_vector_is_that_of_the_mean() -> None:
    train = examples(TRAIN, NUMBERS)
    missing = np.vstack([INPUTS[TEST], np.full((1, INPUTS.shape[1]), np.nan, np.float32)])
    fitted = fit_linear(train, examples(VALID, NUMBERS), kind="regression", settings={"penalty": None}, seed=0)
    assert np.allclose(
        fitted.predict(missing)[-1], fitted.predict(INPUTS[TRAIN].mean(axis=0, keepdims=True)), atol=1e-4
    )


def test_nothing_to_choose_by_takes_the_usual_penalty() -> None:
    silent = Examples(INPUTS[VALID], np.full((15, 1), np.nan, np.float32))
    fitted = fit_linear(examples(TRAIN, NUMBERS), silent, kind="regression", settings={"penalty": None}, seed=0)
    assert np.allclose(fitted.predict(INPUTS), of_penalty(1.0, NUMBERS, "regression"))
