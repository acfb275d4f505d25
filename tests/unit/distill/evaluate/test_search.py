"""The search for settings: it begins with the defaults, repeats itself, and survives candidates that fail."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from distill.evaluate.search import AT_A_TIME, Search, search

if TYPE_CHECKING:
    from optuna import Trial

DEFAULT = 0.0
TRIALS = 3 * AT_A_TIME + 2


def place(trial: Trial) -> float:
    return float(trial.suggest_float("x", -10, 10))


def new(name: str = "one", seed: int = 0) -> Search[float]:
    return Search(name=name, defaults=DEFAULT, draw=place, seed=seed)


def done(one: Search[float], peak: float, trials: int = TRIALS) -> list[float]:
    """Search for the place of a peak, and return all candidates."""
    tried: list[float] = []

    def judge(candidates):
        tried.extend(candidate for _, candidate in candidates)
        return [-abs(candidate - peak) for _, candidate in candidates]

    search([one], trials, judge)
    return tried


def test_the_defaults_are_tried_first_and_all_trials_are_used():
    one = new()
    tried = done(one, peak=5)
    assert tried[0] == DEFAULT
    assert len(tried) == len(set(tried)) == TRIALS == one.found.trials


def test_what_is_found_is_the_best_that_was_tried():
    one = new()
    tried = done(one, peak=5)
    best = min(tried, key=lambda candidate: abs(candidate - 5))
    assert one.candidate(one.found) == pytest.approx(best)
    assert one.found.value == pytest.approx(-abs(best - 5))


def test_the_defaults_stay_where_nothing_is_better():
    one = new()
    done(one, peak=DEFAULT)
    assert one.found.params is None
    assert one.candidate(one.found) == DEFAULT


def test_a_seed_repeats_itself():
    assert done(new(seed=3), peak=5) == done(new(seed=3), peak=5)
    assert done(new(seed=3), peak=5) != done(new(seed=4), peak=5)


def test_later_trials_learn_from_earlier_ones():
    tried = done(new(), peak=7, trials=60)
    assert sum(abs(candidate - 7) for candidate in tried[-20:]) < sum(abs(candidate - 7) for candidate in tried[:20])


def test_a_candidate_that_comes_to_nothing_is_not_chosen():
    one, hopeless = new("one"), new("hopeless")

    def judge(candidates):
        return [math.nan if name == "hopeless" or x == DEFAULT else -abs(x) for name, x in candidates]

    search([one, hopeless], TRIALS, judge)
    assert one.found.params is not None
    assert hopeless.found.params is None
    assert hopeless.found.value is None


def test_searches_side_by_side_do_not_mix():
    one, other = new("one"), new("other", seed=1)
    search([one, other], TRIALS, lambda asked: [-abs(x - (5 if name == "one" else -5)) for name, x in asked])
    assert one.candidate(one.found) > 0 > other.candidate(other.found)


def test_the_space_is_told():
    assert new().space()["x"]["attributes"] == {"low": -10.0, "high": 10.0, "log": False, "step": None}
