import math

import numpy as np
import pytest

from distill.data.dataset import Target
from distill.judge.judged import Judged, JudgedSplit
from distill.judge.run import Run, scored
from distill.judge.summary import summarize

MOLECULES = 60
CHAINS = [f"{'C' * length}{ring}" for ring in ("C1CCCC1", "c1ccccc1", "C1CC1") for length in range(1, 21)]


def judged(seeds: int, *, shared: bool = False, kind: str = "regression") -> Judged:
    """Return molecules that judge under some seeds: all under the same split, or each half under one of two."""
    labels = np.random.default_rng(0).normal(size=(MOLECULES, 1)).astype(np.float32)
    if kind == "classification":
        labels = (labels > 0).astype(np.float32)
    splits = []
    for seed in range(seeds):
        test = np.arange(20, MOLECULES) if shared else np.sort(np.random.default_rng(seed).permutation(MOLECULES)[:40])
        similarity = np.ones(40, np.float32)
        sha256 = "same" if shared else str(seed)
        splits.append(
            JudgedSplit(seed=seed, sha256=sha256, learned=200, valid=np.arange(20), test=test, similarity=similarity)
        )
    return Judged(name="chains", smiles=CHAINS, labels=labels, targets=[Target("y", kind)], splits=splits)


def runs_of(of: Judged, errors: dict[str, float]) -> list[Run]:
    """Return runs of methods whose predictions are wrong by so much, at random."""
    runs = []
    for place, (name, error) in enumerate(errors.items()):
        for split in of.splits:
            noise = np.random.default_rng([place, split.seed]).normal(scale=error, size=of.labels.shape)
            chosen = "atoms" if split.seed else "fingerprint"
            runs.append(scored(of, split, of.labels + noise, method=name, seed=split.seed, chosen=chosen))
    return runs


def test_rows_sum_up_the_seeds_and_the_best_comes_first() -> None:
    of = judged(3)
    runs = runs_of(of, {"gin": 1.0, "lm": 0.1})
    best, other = summarize(of, runs).rows
    assert (best.method, other.method) == ("lm", "gin")
    values = [run.test["rmse"] for run in runs if run.method == "gin"]
    assert (other.mean, other.seeds) == (pytest.approx(np.mean(values)), 3)
    assert other.std == pytest.approx(np.std(values, ddof=1))
    assert other.chosen == {"fingerprint": 1, "atoms": 2}
    assert other.gain is None and not other.differs


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_what_is_far_better_is_better_and_what_is_alike_is_not(shared: bool, kind: str) -> None:
    of = judged(15, shared=shared, kind=kind)
    summary = summarize(of, runs_of(of, {"gin": 1.0, "gat": 1.0, "lm": 0.05, "gcn": 9.0}), "gin")
    rows = {row.method: row for row in summary.rows}
    assert summary.sample == ("molecules" if shared else "splits")
    assert rows["lm"].differs == "better" and rows["gat"].differs is None
    assert rows["lm"].gain is not None and rows["lm"].gain > 0 and rows["gcn"].gain is not None and rows["gcn"].gain < 0
    assert kind == "classification" or rows["gcn"].differs == "worse"
    assert not {"gcn"} & set(summary.not_behind)
    assert rows["gin"].gain is None


def test_a_gain_is_that_of_the_means() -> None:
    of = judged(3)
    summary = summarize(of, runs_of(of, {"gin": 1.0, "lm": 0.5}), "gin")
    best, reference = summary.rows
    assert best.gain == pytest.approx(reference.mean - best.mean)
    assert best.interval is not None
    assert np.mean(best.interval) == pytest.approx(best.gain)


def test_seeds_that_share_a_split_tell_of_its_molecules_and_not_of_more() -> None:
    one, many = (judged(seeds, shared=True) for seeds in (1, 8))
    widths = []
    for of in (one, many):
        summary = summarize(of, runs_of(of, {"gin": 1.0, "lm": 1.3}), "gin")
        interval = next(row.interval for row in summary.rows if row.interval)
        widths.append(interval[1] - interval[0])
    assert widths[0] > widths[1] > widths[0] / 8


def test_one_split_whose_seeds_differ_is_no_sample_of_splits() -> None:
    of = judged(2, shared=True)
    assert summarize(of, runs_of(of, {"gin": 1.0, "lm": 1.0}), "gin").sample == "molecules"


def test_a_small_gain_is_too_small_to_matter() -> None:
    of = judged(1)
    spread = of.labels[of.splits[0].test].std()
    assert summarize(of, runs_of(of, {"gin": 1.0})).threshold == pytest.approx(0.02 * spread, rel=1e-4)
    classes = judged(1, kind="classification")
    assert summarize(classes, runs_of(classes, {"gin": 1.0})).threshold == 0.01


def test_only_seeds_that_can_be_scored_count() -> None:
    of = judged(3)
    runs = runs_of(of, {"gin": 1.0, "lm": 1.0})
    open_ones = [
        Run(method=run.method, seed=1, valid=math.nan, test={"rmse": math.nan}, prediction=run.prediction)
        if run.seed == 1
        else run
        for run in runs
    ]
    rows = summarize(of, open_ones, "gin").rows
    assert [row.seeds for row in rows] == [2, 2]
    assert next(row.interval for row in rows if row.method == "lm")


def test_a_row_that_no_seed_can_score_has_no_mean_and_comes_last() -> None:
    of = judged(2)
    silent = [
        Run(method="gin", seed=seed, valid=math.nan, test={"rmse": math.nan}, prediction=of.labels) for seed in range(2)
    ]
    summary = summarize(of, [*silent, *runs_of(of, {"lm": 1.0, "gcn": 9.0})], "gin")
    assert [row.method for row in summary.rows] == ["lm", "gcn", "gin"]
    assert math.isnan(summary.rows[-1].mean) and summary.rows[-1].seeds == 0
    assert all(row.gain is None and not row.differs for row in summary.rows)
    assert summarize(of, silent).sample is None
