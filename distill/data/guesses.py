"""What an LLM itself predicts of molecules, out of answers to a few-shot prompt (`distill.data.few_shot`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.annotations import Annotations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.cells import Kind

PREDICTION, CONFIDENCE = "prediction", "confidence"  # keys of an answer
LARGEST = 1e30  # number that is one, and fits float32 with room for sums
OUTER_FENCE = 3.0  # times the quartiles' distance, Tukey, Exploratory Data Analysis (1977)
CONFIDENCES = {"low": 0.0, "medium": 0.5, "high": 1.0}


@dataclass(frozen=True, slots=True, eq=False)
class Guesses:
    """Predictions of an LLM.

    Attributes:
        values: float32, (molecules,): in the label's unit, or the probability of the class 1; NaN where there is none.
        confidence: float32, (molecules,): how sure it says to be, 0 to 1; NaN likewise.
        spec: id of the spec that they were written under.
        sha256: digest of the answers.
    """

    values: NDArray[np.float32]
    confidence: NDArray[np.float32]
    spec: str
    sha256: str

    @classmethod
    def of(cls, answers: Annotations) -> Guesses:
        """Read predictions out of answers; an answer that is none counts as no prediction."""
        pairs = np.array([_read(text) for text in answers.texts], dtype=np.float32).reshape(-1, 2)
        return cls(pairs[:, 0], pairs[:, 1], answers.spec, answers.sha256)

    def features(self, train: NDArray[np.int64], kind: Kind) -> NDArray[np.float32]:
        """Return what a network reads of them: (molecules, 3), as `teacher.nn.fusion.GUESS` names the columns.

        A number far outside of the others is read as the farthest that is not: one answer of 22,112 among
        solubilities of -2 makes all others look alike.

        Args:
            train: the molecules whose predictions decide what is far outside, mean and deviation.
            kind: of what is predicted.
        """
        known = np.isfinite(self.values)
        values = self.values.astype(np.float64)
        if kind == "regression":
            values = np.clip(values, *fences(values[train]))
        shown = values[train][known[train]]
        mean, deviation = (shown.mean(), shown.std() or 1.0) if len(shown) else (0.0, 1.0)
        value = np.where(known, (values - mean) / deviation, 0.0)
        return np.column_stack([value, np.where(known, self.confidence, 0.0), known]).astype(np.float32)


def fences(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return Tukey's outer fences, beyond which a number is far outside of the others.

    Args:
        values: any; NaN does not count.

    Returns:
        The least and the greatest number within; infinite where both quartiles are one number, or there is none.
    """
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, [25, 75]) if len(known) else (0.0, 0.0)
    reach = OUTER_FENCE * (high - low) or np.inf
    return float(low - reach), float(high + reach)


def _read(text: str | None) -> tuple[float, float]:
    """Return the prediction and the confidence of an answer, NaN where there is none."""
    nothing = (float("nan"), float("nan"))
    if text is None:
        return nothing
    try:
        answer: Any = json.loads(text)
    except ValueError:
        return nothing
    value = answer.get(PREDICTION) if isinstance(answer, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        return nothing
    return float(value), CONFIDENCES.get(str(answer.get(CONFIDENCE)), CONFIDENCES["medium"])
