"""From runs to a table: means and spreads over seeds, and who is ahead of whom for sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

import numpy as np

from distill.judge.bootstrap import draws, scores
from distill.judge.significance import Pairwise, over_replicates, over_splits
from distill.learn.metrics import main_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.cells import Kind
    from distill.judge.judged import Judged
    from distill.judge.run import Run

ROC_AUC_THRESHOLD = 0.01
RMSE_THRESHOLD = 0.02  # of the standard deviation of the labels of all test parts
LEAST_SCAFFOLDS = 10  # of a test part that is drawn from: with 10 chance is taken for a difference in 4 of 40 cases
SEEDS_DRAWN = 1_000_003  # seeds the draws of seeds, apart from those of molecules

Sample = Literal["splits", "molecules"]


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
        seconds: mean of the fit that is judged; None where it was not taken.
        fits, spent: means of how many fits stand behind it, and of their seconds; None where nobody counted.
        gain: by how much the method is better than the reference, in the unit of the metric; None for the reference.
        interval: of the gain, at 95 % for all pairs of methods at once; None where nothing tells.
    """

    method: str
    metric: str
    mean: float
    std: float
    seeds: int
    valid: float
    chosen: Mapping[str, int]
    seconds: float | None
    fits: float | None = None
    spent: float | None = None
    gain: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def differs(self) -> Literal["better", "worse"] | None:
        """On which side of the reference the method is, where the interval of the gain leaves out zero."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return None
        return "better" if self.interval[0] > 0 else "worse"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The table of a comparison.

    Attributes:
        rows: the best first.
        reference: the method that the others are compared with; None where it is not among them.
        sample: what the intervals are over: several splits, or the molecules of one test part; None without any.
        too_few: the scaffolds of the one test part, where they are too few to tell how sure a difference is.
        threshold: a gain smaller than this matters to nobody, however sure it is.
        not_behind: the methods that the best one is not surely better than, the best of them first.
    """

    rows: Sequence[SummaryRow]
    reference: str | None
    sample: Sample | None
    threshold: float
    not_behind: Sequence[str]
    too_few: int | None = None

    @property
    def best(self) -> SummaryRow:
        """The row with the best mean."""
        return self.rows[0]


def summarize(judged: Judged, runs: Sequence[Run], reference: str | None = None) -> Summary:
    """Sum up runs, one row a method, the best first; methods that no seed can score come last.

    Args:
        judged: what they were judged by.
        runs: of all methods and seeds.
        reference: the method that the others are compared with, if it is among them.
    """
    by_method: dict[str, list[Run]] = {}
    for run in runs:
        by_method.setdefault(run.method, []).append(run)
    reference = reference if reference in by_method else None
    compared = _compared(judged, by_method)
    sign = 1 if judged.kind == "classification" else -1
    rows = [_summary_row(of_method, judged.kind, reference, compared.pairwise) for of_method in by_method.values()]
    rows.sort(key=lambda row: (isnan(row.mean), -sign * row.mean))
    return Summary(
        rows=rows,
        reference=reference,
        sample=compared.sample,
        threshold=_threshold(judged),
        not_behind=_not_behind(rows, compared.pairwise),
        too_few=compared.too_few,
    )


def _summary_row(runs: Sequence[Run], kind: Kind, reference: str | None, pairwise: Pairwise | None) -> SummaryRow:
    metric, method = main_metric(kind), runs[0].method
    values = [run.test[metric] for run in runs if not isnan(run.test[metric])]
    choices = [run.chosen for run in runs if run.chosen is not None]
    gain = interval = None
    if pairwise and reference not in (None, method) and {method, reference} <= set(pairwise.methods):
        gain, interval = pairwise.between(method, reference)[0], pairwise.interval(method, reference)
    return SummaryRow(
        method=method,
        metric=metric,
        mean=_mean(values),
        std=stdev(values) if len(values) > 1 else 0.0,
        seeds=len(values),
        valid=_mean([run.valid for run in runs if not isnan(run.valid)]),
        chosen={choice: choices.count(choice) for choice in dict.fromkeys(choices)},
        seconds=_mean_of_known([run.seconds for run in runs]),
        fits=_mean_of_known([run.fits for run in runs]),
        spent=_mean_of_known([run.spent for run in runs]),
        gain=gain,
        interval=interval,
    )


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else nan


def _threshold(judged: Judged) -> float:
    """Return how large a gain has to be to matter."""
    if judged.kind == "classification":
        return ROC_AUC_THRESHOLD
    if judged.labels.shape[1] > 1:  # errors are in units of the deviation
        return RMSE_THRESHOLD
    rows = np.unique(np.concatenate([split.test for split in judged.splits]))
    return RMSE_THRESHOLD * float(np.mean(np.nanstd(judged.labels[rows], axis=0, dtype=np.float64)))


def _not_behind(rows: Sequence[SummaryRow], pairwise: Pairwise | None) -> list[str]:
    """Return the methods that the first is not surely better than."""
    best, *others = (row.method for row in rows)
    if pairwise is None or best not in pairwise.methods:
        return others
    known = {other: pairwise.interval(best, other) for other in others if other in pairwise.methods}
    return [other for other, interval in known.items() if interval is None or interval[0] <= 0]


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """All differences among methods, what their intervals are over, and why there are none; as in `Summary`."""

    pairwise: Pairwise | None = None
    sample: Sample | None = None
    too_few: int | None = None


def _compared(judged: Judged, by_method: Mapping[str, Sequence[Run]]) -> _Compared:
    """Compare all methods that can be scored, under the seeds that can score them all."""
    metric, sign = main_metric(judged.kind), 1 if judged.kind == "classification" else -1
    found = {
        method: {run.seed: run for run in runs if not isnan(run.test[metric])} for method, runs in by_method.items()
    }
    methods = [method for method, of_seeds in found.items() if of_seeds]
    splits = [each for each in judged.splits if all(each.seed in found[method] for method in methods)]
    if len(methods) < 2 or not splits:
        return _Compared()
    runs = [[found[method][each.seed] for each in splits] for method in methods]
    values = sign * np.array([[run.test[metric] for run in of_method] for of_method in runs])
    # Every test part counts once: seeds that share one tell nothing about other molecules.
    distinct = {each.test_key: place for place, each in enumerate(splits)}
    if len(distinct) > 1:
        ratio = fmean(len(splits[place].test) / splits[place].learned for place in distinct.values())
        return _Compared(pairwise=over_splits(methods, values[:, list(distinct.values())], ratio), sample="splits")
    groups = judged.scaffolds(splits[0].test)
    if (count := len(np.unique(groups))) < LEAST_SCAFFOLDS:
        return _Compared(too_few=count)
    replicates = sign * _replicates(judged, splits[0].test, groups, runs)
    pairwise = over_replicates(methods, values.mean(axis=1), replicates)
    return _Compared(pairwise=pairwise, sample="molecules" if pairwise else None)


def _replicates(
    judged: Judged, test: NDArray[np.int64], groups: NDArray[np.int64], runs: Sequence[Sequence[Run]]
) -> NDArray[np.float64]:
    """Return the scores of methods under draws of groups of test molecules and of seeds, (draws, methods)."""
    truth, seeds = judged.labels[test], len(runs[0])
    chance = np.random.default_rng(SEEDS_DRAWN)
    blocks = []
    for weights in draws(groups):
        times = chance.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(weights)) / seeds
        of_block = [
            sum(
                times[:, seed] * scores(judged.kind, truth, run.prediction[test], weights)
                for seed, run in enumerate(of_method)
            )
            for of_method in runs
        ]
        blocks.append(np.stack(of_block, axis=1))
    return np.concatenate(blocks)
