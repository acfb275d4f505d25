import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.data import splits
from distill.data.dataset import Target, read
from distill.judge.curve import with_fewer_labels
from distill.judge.judged import Judged, JudgedSplit, SeededSplit
from distill.judge.run import Run, scored
from distill.judge.significance import over_splits
from distill.judge.summary import LEAST_SCAFFOLDS, summarize
from distill.report.verdict import protocol, verdict

MOLECULES = 60
CHAINS = [f"{'C' * tail}C1CC1{'C' * length}C1CC1" for length in range(1, 21) for tail in range(1, 4)]  # 20 scaffolds


def judged(seeds: int, *, shared: bool = False, kind: str = "regression") -> Judged:
    """Return molecules that judge under some seeds: all under the same split, or each half under one of two."""
    labels = np.random.default_rng(0).normal(size=(MOLECULES, 1)).astype(np.float32)
    if kind == "classification":
        labels = (labels > 0).astype(np.float32)
    parts = []
    for seed in range(seeds):
        test = np.arange(20, MOLECULES) if shared else np.sort(np.random.default_rng(seed).permutation(MOLECULES)[:40])
        similarity = np.ones(40, np.float32)
        sha256 = "same" if shared else str(seed)
        parts.append(
            JudgedSplit(seed=seed, sha256=sha256, learned=200, valid=np.arange(20), test=test, similarity=similarity)
        )
    return Judged(name="chains", smiles=CHAINS, labels=labels, targets=[Target("y", kind)], splits=parts)


def with_scaffolds(scaffolds: int) -> Judged:
    """Return molecules of which so many scaffolds judge, under one split."""
    return replace(judged(3, shared=True), smiles=[CHAINS[3 * (row % scaffolds)] for row in range(MOLECULES)])


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


def test_fewer_labels_drawn_by_seed_make_no_sample_of_splits_where_all_seeds_have_one_test_part() -> None:
    of = judged(5, shared=True)
    drawn = [replace(each, sha256=str(each.seed), valid=each.valid[: 10 + each.seed]) for each in of.splits]
    few = replace(of, splits=drawn)
    summary = summarize(few, runs_of(few, {"gin": 1.0, "lm": 1.0}), "gin")
    assert summary.sample == "molecules"
    assert "test molecules" in protocol(summary, few)


@pytest.mark.parametrize("scaffolds", [1, LEAST_SCAFFOLDS - 1])
def test_a_test_part_of_few_scaffolds_tells_nothing_and_says_why(scaffolds: int) -> None:
    of = with_scaffolds(scaffolds)
    summary = summarize(of, runs_of(of, {"gin": 1.0, "lm": 1.01}), "gin")
    assert (summary.sample, summary.too_few) == (None, scaffolds)
    assert all(row.interval is None and row.differs is None for row in summary.rows)
    assert summary.not_behind == [summary.rows[1].method]
    for said in (verdict(summary), protocol(summary, of)):
        assert f"the test part has {scaffolds} scaffold" in said
    enough = with_scaffolds(LEAST_SCAFFOLDS)
    assert summarize(enough, runs_of(enough, {"gin": 1.0, "lm": 1.01}), "gin").sample == "molecules"


def test_a_difference_that_does_not_vary_is_no_certain_one() -> None:
    found = over_splits(["one", "other"], np.array([[0.3, 0.3, 0.3], [0.1, 0.1, 0.1]]), 0.1)
    assert found is not None and found.interval("one", "other") is None
    of = judged(1, shared=True, kind="classification")
    exact, wrong = (
        scored(of, of.splits[0], said.astype(float), method=name, seed=0)
        for name, said in (("exact", of.labels), ("wrong", 1 - of.labels))
    )
    best = summarize(of, [exact, wrong], "wrong").best
    assert (best.method, best.gain, best.interval, best.differs) == ("exact", 1.0, None, None)


def test_only_labelled_molecules_are_learned_from_and_hidden_labels_make_no_test_part_larger(tmp_path: Path) -> None:
    path = tmp_path / "halves.csv"
    path.write_text("smiles,y\n" + "".join(f"{'C' * (row + 1)},{row if row % 2 else ''}\n" for row in range(100)))
    dataset = read(path, targets=["y"])
    whole = splits.split(dataset, "random")
    judging = Judged.of(dataset, [SeededSplit(seed=0, split=whole)])
    known = ~np.isnan(dataset.labels[:, 0])
    assert judging.splits[0].learned == known[whole.train].sum() + known[whole.valid].sum() < 90
    few = SeededSplit(seed=0, split=with_fewer_labels(whole, dataset, 20, seed=0))
    assert Judged.of(dataset, [few], like=judging).splits[0].learned == judging.splits[0].learned


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
