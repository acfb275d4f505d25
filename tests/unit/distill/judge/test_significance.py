"""The statistics of a comparison, against hand-computed and published cases, and what they promise by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, root_mean_squared_error

from distill.judge.bootstrap import draws, scores
from distill.judge.significance import over_replicates, over_splits

# Three methods under four splits. Means 3, 5, 8; the differences of the first two have the variance 2/3.
BY_HAND = np.array([[2.0, 3.0, 3.0, 4.0], [4.0, 6.0, 5.0, 5.0], [7.0, 8.0, 8.0, 9.0]])


def test_an_interval_over_splits_is_the_one_computed_by_hand() -> None:
    found = over_splits("abc", BY_HAND, test_to_train=0)
    assert found is not None
    assert found.difference.tolist() == [[0, -2, -5], [2, 0, -3], [5, 3, 0]]
    # Student's t for three degrees of freedom at 1 - 0.05 / 2 / 3, as tables of Bonferroni's t have it.
    assert found.half[0, 1] == pytest.approx(4.857 * (2 / 3 / 4) ** 0.5, abs=1e-3)
    assert found.between("b", "a")[0] == 2


def test_splits_that_share_molecules_have_the_variance_of_nadeau_and_bengio() -> None:
    alone, shared = (over_splits("abc", BY_HAND, test_to_train=share) for share in (0, 0.25))
    assert alone is not None and shared is not None
    assert shared.half[0, 1] / alone.half[0, 1] == pytest.approx(((1 / 4 + 0.25) / (1 / 4)) ** 0.5)


def test_two_methods_are_compared_by_the_corrected_resampled_t_test() -> None:
    one, two = np.random.default_rng(0).normal(size=(2, 10))
    found = over_splits("ab", np.array([one, two]), test_to_train=1 / 9)
    assert found is not None
    gains = one - two
    error = (gains.var(ddof=1) * (1 / 10 + 1 / 9)) ** 0.5
    assert found.half[0, 1] == pytest.approx(stats.t.ppf(0.975, 9) * error, rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 5), (3, 1)])
def test_nothing_is_said_of_one_method_or_of_one_split(shape: tuple[int, int]) -> None:
    assert over_splits("abc"[: shape[0]], np.ones(shape), test_to_train=0) is None


def test_a_method_that_varies_widely_does_not_hide_what_others_differ_by() -> None:
    steady = over_splits("ab", BY_HAND[1:], test_to_train=0)
    wild = over_splits("abc", np.array([*BY_HAND[1:], [90.0, -50.0, 10.0, -70.0]]), test_to_train=0)
    assert steady is not None and wild is not None
    assert wild.half[0, 1] < 2 * steady.half[0, 1]
    assert wild.half[0, 2] > 50


def test_among_equal_methods_a_difference_is_rarely_found() -> None:
    chance = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        found = over_splits("abcdefgh", chance.normal(size=(8, 6)) + chance.normal(size=6), test_to_train=0)
        assert found is not None
        wrong += bool((np.abs(found.difference) > found.half + np.eye(8)).any())
    assert 400 * 0.01 < wrong < 400 * 0.07  # 5 % are promised; 28 pairs by themselves err in more than 40 %


def finds_a_difference(groups: np.ndarray, cut: np.ndarray, seed: int) -> bool:
    """Compare three methods of which none is better, whose errors belong together by group, drawing `cut` whole."""
    chance = np.random.default_rng(seed)
    truth = np.zeros((len(groups), 1), np.float32)
    said = [(chance.normal(size=groups.max() + 1)[groups] + chance.normal(size=len(groups)))[:, None] for _ in "abc"]
    whole, replicates = (
        np.concatenate(
            [np.stack([scores("regression", truth, each, block) for each in said], axis=1) for block in blocks]
        )
        for blocks in ([np.ones((1, len(groups)))], draws(cut, 200))
    )
    found = over_replicates("abc", whole[0], replicates)
    assert found is not None
    return bool((np.abs(found.difference) > found.half + np.eye(3)).any())


def test_a_bootstrap_by_scaffold_keeps_its_promise_where_one_by_molecule_does_not() -> None:
    groups = np.repeat(np.arange(60), 5)
    by_scaffold = sum(finds_a_difference(groups, groups, seed) for seed in range(150))
    by_molecule = sum(finds_a_difference(groups, np.arange(300), seed) for seed in range(150))
    assert by_scaffold < 150 * 0.1 < by_molecule  # 5 % are promised


def test_weighted_scores_are_those_of_molecules_that_stand_there_so_often() -> None:
    chance = np.random.default_rng(3)
    numbers = chance.normal(size=(50, 1)).astype(np.float32)
    classes = (numbers > 0).astype(np.float32)
    said = np.round(numbers + chance.normal(size=(50, 1)), 1).astype(np.float64)  # rounded, so that some are equal
    times = next(draws(np.arange(50), 3))
    for row, count in enumerate(times.astype(int)):
        again = np.repeat(np.arange(50), count)
        assert scores("regression", numbers, said, times)[row] == pytest.approx(
            root_mean_squared_error(numbers[again], said[again])
        )
        assert scores("classification", classes, said, times)[row] == pytest.approx(
            roc_auc_score(classes[again], said[again])
        )


def test_a_draw_without_both_classes_is_not_scored_and_missing_labels_do_not_count() -> None:
    truth = np.array([[1, np.nan], [0, 1], [np.nan, 0]], np.float32)
    said = np.array([[0.9, 0.5], [0.1, 0.2], [0.5, 0.7]])
    weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    found = scores("classification", truth, said, weights)
    assert found[0] == pytest.approx(0.5)  # one target ranked rightly, the other wrongly
    assert np.isnan(found[1])
    assert found[2] == 1.0


def test_groups_are_drawn_whole() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    drawn = np.concatenate(list(draws(groups, 100)))
    assert drawn.shape == (100, 6)
    assert (drawn[:, 0] == drawn[:, 1]).all() and (drawn[:, 3] == drawn[:, 5]).all()
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_two_thousand_times_molecules_are_drawn_however_many_fit_into_memory() -> None:
    assert [sum(map(len, draws(np.arange(molecules)))) for molecules in (10, 5_000)] == [2_000, 2_000]
