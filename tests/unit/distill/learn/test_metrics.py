"""Scores: what is averaged, and what is left out of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distill.judge.bootstrap import scores
from distill.learn.metrics import better, main_metric, retrieval, score

NAN = float("nan")


def test_classes_are_ranked():
    truth = np.array([[0, 1], [0, 0], [1, 1], [1, NAN]])
    prediction = np.array([[0.1, 0.2], [0.4, 0.6], [0.35, 0.9], [0.8, 0.5]])
    found = score("classification", truth, prediction)
    assert found["roc_auc"] == pytest.approx((0.75 + 0.5) / 2)
    assert (found["targets"], found["left_out"]) == (2, 0)


def test_probabilities_and_logits_score_alike():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, (50, 3)).astype(float)
    logits = generator.normal(size=(50, 3))
    probabilities = 1 / (1 + np.exp(-logits))
    assert score("classification", truth, logits) == pytest.approx(score("classification", truth, probabilities))


def test_numbers_are_measured_in_their_unit():
    found = score("regression", np.array([[1.0], [2.0], [NAN], [3.0]]), np.array([[1.0], [2.0], [9.0], [6.0]]))
    assert found["rmse"] == pytest.approx(math.sqrt(3))
    assert found["mae"] == pytest.approx(1)
    assert found["r2"] == pytest.approx(1 - 9 / 2)


def test_errors_of_targets_with_units_apart_are_averaged_in_units_of_the_labels_deviation():
    truth = np.array([[1.0, 1000.0], [3.0, 3000.0]])
    apart = score("regression", truth, truth + np.array([0.5, 100.0]))
    assert apart["rmse"] == apart["mae"] == pytest.approx((0.5 / 1 + 100 / 1000) / 2)
    in_other_units = score("regression", truth * [1, 1e-6], truth * [1, 1e-6] + np.array([0.5, 1e-4]))
    assert in_other_units["rmse"] == pytest.approx(apart["rmse"])
    everyone = scores("regression", truth.astype(np.float32), truth + np.array([0.5, 100.0]), np.ones((1, 2)))
    assert everyone[0] == pytest.approx(apart["rmse"])


def test_targets_that_cannot_be_scored_are_counted():
    truth = np.array([[0, 1, NAN], [1, 1, NAN]])
    found = score("classification", truth, np.array([[0.1, 0.5, 0.5], [0.9, 0.5, 0.5]]))
    assert (found["roc_auc"], found["targets"], found["left_out"]) == (1, 1, 2)
    assert math.isnan(score("regression", truth[:, 2:], truth[:, :1])["rmse"])


def test_better_is_larger_for_classes_and_smaller_for_numbers():
    assert (main_metric("classification"), main_metric("regression")) == ("roc_auc", "rmse")
    assert better("classification", 0.8, 0.7)
    assert better("regression", 0.7, 0.8)
    assert better("regression", 0.7, NAN)
    assert not better("regression", NAN, 0.7)
    assert not better("classification", 0.7, 0.7)


def test_a_text_is_found_where_it_is_the_nearest_and_the_same_text_is_no_other():
    graphs = np.array([[1, 0], [0.9, 0.1], [0, 1], [1, 0.2]], dtype=np.float32)
    texts = np.array([[1, 0], [0, 1], [0, 1], [-1, 0]], dtype=np.float32)
    apart = np.arange(4, dtype=np.float32)[:, None]
    found = retrieval(graphs, texts, apart)
    # Of the first two nearer ones: none; one and one as near; none and one as near; three.
    assert (found["texts"], found["recall@1"], found["recall@10"]) == (4, 0.25, 1)
    assert found["auc"] == pytest.approx((1 + 0.5 + 5 / 6 + 0) / 4)
    same = apart.copy()
    same[2] = same[1]
    found = retrieval(graphs, texts, same)
    assert found["recall@1"] == 0.5 and found["auc"] == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert retrieval(np.zeros_like(graphs), texts, apart) == {"texts": 4, "recall@1": 0, "recall@10": 1, "auc": 0.5}
    assert math.isnan(retrieval(graphs, texts, np.zeros((4, 1), dtype=np.float32))["auc"])
