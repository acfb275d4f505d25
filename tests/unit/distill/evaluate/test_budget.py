"""What a row costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cluster.training.fit import Outcome
from distill.evaluate.budget import Budget


def outcome(name: str, seconds: float) -> Outcome:
    nothing = np.zeros((0, 1), dtype=np.float32)
    found = {"score": 0.0, "epochs": 1, "best_epoch": 1, "history": []}
    return Outcome(prediction=nothing, outputs=Path(name), weights=Path(name), seconds=seconds, **found)


def test_a_fit_that_stands_behind_a_row_twice_is_counted_once() -> None:
    chosen = outcome("chosen", 2.0)
    assert Budget.of([chosen, outcome("lost", 3.0), chosen]) == Budget(2, 5.0)
    assert Budget.of([]) == Budget(0, 0.0)
