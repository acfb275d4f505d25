"""How wrong methods are on activity cliffs (`distill.judge.cliffs`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from distill.learn.metrics import can_be_scored, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.judge.judged import Judged
    from distill.judge.run import Run


@dataclass(frozen=True, kw_only=True)
class CliffRow:
    """How wrong a method is on cliffs: RMSE, means over the seeds whose test part holds some.

    Of several targets it is the mean over those that have labels on cliffs and others, each in units of the standard
    deviation of all its labels in the test part.

    Attributes:
        method: its name.
        cliff: on molecules of cliffs.
        other: on the others.
        overall: on all.
    """

    method: str
    cliff: float
    other: float
    overall: float


def errors_on_cliffs(judged: Judged, runs: Sequence[Run]) -> list[CliffRow]:
    """Return how wrong each method is on cliffs, the least wrong first; nothing where no test part holds any."""
    if judged.cliffs is None:
        return []
    found: dict[str, list[tuple[float, float, float]]] = {}
    for run in runs:
        rows = judged.by_seed[run.seed].test
        labels, of_cliff, said = judged.labels[rows], judged.cliffs[rows], run.prediction[rows]
        of_targets = [
            errors
            for column in range(labels.shape[1])
            if (errors := _of_target(labels[:, column], of_cliff[:, column], said[:, column], labels.shape[1]))
        ]
        if of_targets:
            cliff, other, overall = map(fmean, zip(*of_targets, strict=True))
            found.setdefault(run.method, []).append((cliff, other, overall))
    rows_found = [
        CliffRow(method=method, cliff=cliff, other=other, overall=overall)
        for method, errors in found.items()
        for cliff, other, overall in [map(fmean, zip(*errors, strict=True))]
    ]
    return sorted(rows_found, key=lambda row: row.cliff)


def _of_target(
    labels: NDArray[np.float32], of_cliff: NDArray[np.bool_], said: NDArray[np.float64], targets: int
) -> list[float] | None:
    """Return the errors of a target on cliffs, on others and on all, in one unit; None where some cannot be scored."""
    known = ~np.isnan(labels)
    parts = [known & of_cliff, known & ~of_cliff, known]
    if not all(can_be_scored("regression", labels[part]) for part in parts):
        return None
    squares = (labels.astype(np.float64) - said) ** 2
    return [float(np.sqrt(squares[part].mean())) / unit("regression", labels[known], targets) for part in parts]
