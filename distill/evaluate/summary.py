"""From runs to a table: means and spreads over seeds, and paired differences with a confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

import numpy as np

from distill.learn.metrics import main_metric

if TYPE_CHECKING:
    from distill.data.cells import Kind
    from distill.evaluate.comparison import Run

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """A row of the table.

    Attributes:
        method, metric: what was measured of what.
        mean, std: over the seeds whose test part can be scored; the sample standard deviation, 0 for one seed. The mean
            is NaN where there is none.
        seeds: how many those are.
        valid: mean over the seeds whose validation part can be scored; NaN where there is none.
        chosen: what was chosen on the validation part, and under how many seeds.
        seconds: mean of a fit; None where it was not taken.
        difference: mean of reference minus method, over the seeds that both have; in the direction in which the
            reference is better. None for the reference itself.
        interval: of the difference, at 95 %, by Student's t over the seeds; None where nothing varies, as with one
            seed, or two methods without chance on one split.
    """

    method: str
    metric: str
    mean: float
    std: float
    seeds: int
    valid: float
    chosen: Mapping[str, int]
    seconds: float | None
    difference: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def differs(self) -> Literal["better", "worse"] | None:
        """On which side of the reference the method surely is: where the interval of the difference leaves out zero."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return None
        return "better" if self.interval[1] < 0 else "worse"


def summarize(runs: Sequence[Run], kind: Kind, reference: str | None = None) -> list[SummaryRow]:
    """Sum up runs, one row a method, in the order in which methods first come.

    Args:
        runs: of all methods and seeds.
        kind: of the targets; decides the metric, and which direction is better.
        reference: the method that the others are compared with, if it is among them.
    """
    by_method: dict[str, list[Run]] = {}
    for run in runs:
        by_method.setdefault(run.method, []).append(run)
    against = by_method.get(reference or "")
    return [
        _summary_row(of_method, kind, against if of_method is not against else None) for of_method in by_method.values()
    ]


def _summary_row(runs: Sequence[Run], kind: Kind, against: Sequence[Run] | None) -> SummaryRow:
    metric = main_metric(kind)
    values = [run.test[metric] for run in runs if not isnan(run.test[metric])]
    seconds = [run.seconds for run in runs if run.seconds is not None]
    choices = [run.chosen for run in runs if run.chosen is not None]
    difference, interval = _paired(runs, against, kind) if against else (None, None)
    return SummaryRow(
        method=runs[0].method,
        metric=metric,
        mean=_mean(values),
        std=stdev(values) if len(values) > 1 else 0.0,
        seeds=len(values),
        valid=_mean([run.valid for run in runs if not isnan(run.valid)]),
        chosen={choice: choices.count(choice) for choice in dict.fromkeys(choices)},
        seconds=fmean(seconds) if seconds else None,
        difference=difference,
        interval=interval,
    )


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else nan


def _paired(runs: Sequence[Run], against: Sequence[Run], kind: Kind) -> tuple[float | None, tuple[float, float] | None]:
    """Return the mean advantage of `against` over the same seeds, and its confidence interval."""
    from scipy.stats import t

    metric, sign = main_metric(kind), 1 if kind == "classification" else -1
    of_reference = {run.seed: run.test[metric] for run in against}
    gains = [sign * (of_reference[run.seed] - run.test[metric]) for run in runs if run.seed in of_reference]
    gains = [gain for gain in gains if not isnan(gain)]
    if not gains:
        return None, None
    mean = fmean(gains)
    if len(set(gains)) < 2:
        return mean, None
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(gains) - 1)) * float(np.std(gains, ddof=1)) / len(gains) ** 0.5
    return mean, (mean - half, mean + half)
