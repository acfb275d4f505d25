"""How wrong methods are on activity cliffs (`distill.judge.cliffs`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from distill.learn.metrics import score

if TYPE_CHECKING:
    from distill.judge.judged import Judged
    from distill.judge.run import Run


@dataclass(frozen=True, kw_only=True)
class CliffRow:
    """How wrong a method is on cliffs: RMSE, means over the seeds whose test part holds some.

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
        masks = (of_cliff, ~of_cliff, np.ones_like(of_cliff))
        cliff, other, overall = (score(judged.kind, np.where(mask, labels, np.nan), said)["rmse"] for mask in masks)
        if not np.isnan([cliff, other]).any():
            found.setdefault(run.method, []).append((cliff, other, overall))
    rows_found = [
        CliffRow(method=method, cliff=cliff, other=other, overall=overall)
        for method, errors in found.items()
        for cliff, other, overall in [map(fmean, zip(*errors, strict=True))]
    ]
    return sorted(rows_found, key=lambda row: row.cliff)
