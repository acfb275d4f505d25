"""What one method said under one seed, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.judge.judged import Judged, JudgedSplit
from distill.learn.metrics import main_metric, score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One method under one seed.

    Attributes:
        method: its name.
        seed: of the training, and of the split where it is random.
        valid: the main metric on the validation part.
        test: all metrics on the test part.
        prediction: float64, (molecules, targets); probabilities of class 1, or numbers in the unit of the labels.
        chosen: what was chosen on the validation part, where there was a choice.
        seconds: of the fit that is judged.
        fits, spent: how many fits stand behind it, itself and those that lost a choice included, and their seconds.
            All three are None where nobody counted.
    """

    method: str
    seed: int
    valid: float
    test: Mapping[str, float]
    prediction: NDArray[np.float64]
    chosen: str | None = None
    seconds: float | None = None
    fits: int | None = None
    spent: float | None = None


def scored(
    judged: Judged,
    split: JudgedSplit,
    prediction: NDArray[np.float64],
    *,
    method: str,
    seed: int,
    chosen: str | None = None,
    seconds: float | None = None,
    fits: int | None = None,
    spent: float | None = None,
) -> Run:
    """Return the run of a method that predicts so, with its scores."""
    scores = {
        part: score(judged.kind, judged.labels[rows], prediction[rows])
        for part, rows in (("valid", split.valid), ("test", split.test))
    }
    return Run(
        method=method,
        seed=seed,
        valid=scores["valid"][main_metric(judged.kind)],
        test=scores["test"],
        prediction=prediction,
        chosen=chosen,
        seconds=seconds,
        fits=fits,
        spent=spent,
    )
