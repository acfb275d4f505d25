"""How good methods are of each target by itself, in the target's own unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean
from typing import TYPE_CHECKING

from distill.learn.metrics import main_metric, score

if TYPE_CHECKING:
    from distill.judge.judged import Judged
    from distill.judge.run import Run


@dataclass(frozen=True, kw_only=True)
class TargetRow:
    """One method on the test part.

    Attributes:
        method: its name.
        scores: of each target, by its name, the main metric, a mean over the seeds that can score it; else None.
    """

    method: str
    scores: dict[str, float | None]


def scores_by_target(judged: Judged, runs: Sequence[Run]) -> list[TargetRow]:
    """Return how good each method is of each target, in the order of the runs; nothing where there is one target."""
    if len(judged.targets) < 2:
        return []
    metric = main_metric(judged.kind)
    rows = []
    for method in dict.fromkeys(run.method for run in runs):
        scores: dict[str, float | None] = {}
        for column, target in enumerate(judged.targets):
            found = []
            for run in runs:
                if run.method == method:
                    test = judged.by_seed[run.seed].test
                    labels, said = judged.labels[test, column], run.prediction[test, column]
                    found.append(score(judged.kind, labels[:, None], said[:, None])[metric])
            known = [value for value in found if not isnan(value)]
            scores[target.name] = fmean(known) if known else None
        rows.append(TargetRow(method=method, scores=scores))
    return rows
