"""Baselines: one way to fit and ask them all, missing labels and single classes included."""

from __future__ import annotations

import shutil
import threading
import time

import numpy as np
import optuna
import pytest
from rdkit.Chem import MolFromSmiles

from distill.evaluate.baselines.baseline import Baseline, Examples
from distill.evaluate.baselines.catalog import BASELINES, baseline
from distill.evaluate.baselines.interruptible import NAME
from teacher.errors import GallonError, UsageError
from tests.support.interrupt import interrupt_after

MOLS = [MolFromSmiles(f"{'C' * length}{head}") for length in range(1, 16) for head in ("O", "N", "c1ccccc1", "Cl")]
NITROGEN = np.array([[float(any(atom.GetAtomicNum() == 7 for atom in mol.GetAtoms()))] for mol in MOLS], np.float32)
SIZE = np.array([[mol.GetNumAtoms()] for mol in MOLS], np.float32)
BOOSTING = ("gradient_boosting", "lightgbm")
QUICK = {
    "random_forest": {"n_estimators": 20},
    "gradient_boosting": {"n_estimators": 100, "learning_rate": 0.3},
    "lightgbm": {"n_estimators": 100, "learning_rate": 0.3, "min_child_samples": 2},
}


@pytest.fixture(params=sorted(QUICK))
def trees(request: pytest.FixtureRequest) -> str:
    return request.param


def fit(name: str, labels: np.ndarray, kind: str, seed: int = 0) -> np.ndarray:
    """Learn from two thirds of the molecules, and predict all."""
    model: Baseline = baseline(name)
    inputs = model.represent(MOLS)
    train = np.arange(len(MOLS)) % 3 > 0
    examples, valid = Examples(inputs[train], labels[train]), Examples(inputs[~train], labels[~train])
    return model.fit(examples, valid, kind=kind, settings=QUICK.get(name), seed=seed).predict(inputs)


def test_classes_become_probabilities(trees: str):
    found = fit(trees, NITROGEN, "classification")
    assert found.shape == NITROGEN.shape
    assert found.dtype == np.float32
    assert ((found > 0.5) == (NITROGEN == 1)).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_each_target_learns_from_its_own_labels(trees: str):
    labels = np.hstack([SIZE, 1000 - SIZE])
    labels[::2, 0] = np.nan
    labels[1::2, 1] = np.nan
    found = fit(trees, labels, "regression")
    assert np.abs(found[:, 0] - SIZE[:, 0]).mean() < 3
    assert np.abs(found[:, 1] - 1000 + SIZE[:, 0]).mean() < 3


@pytest.mark.parametrize("only", [0, 1])
def test_a_single_class_is_predicted_for_all(only: int, trees: str):
    found = fit(trees, np.full_like(NITROGEN, only), "classification")
    assert (found == only).all()


def test_a_forest_that_grows_in_steps_is_that_of_one_go(monkeypatch: pytest.MonkeyPatch):
    in_steps = fit("random_forest", SIZE, "regression")
    monkeypatch.setattr("distill.evaluate.baselines.trees.TREES_AT_ONCE", 1_000)
    assert np.allclose(fit("random_forest", SIZE, "regression"), in_steps)


def test_an_interrupt_waits_for_no_trees_and_they_stop_growing(trees: str):
    model = baseline(trees)
    examples = Examples(model.represent(MOLS), SIZE)
    endless = {"n_estimators": 10**9, **({} if trees == "random_forest" else {"early_stopping_rounds": 10**9})}
    interrupt_after(0.5)
    with pytest.raises(KeyboardInterrupt):
        model.fit(examples, examples, kind="regression", settings=endless)
    while any(thread.name == NAME for thread in threading.enumerate()):
        time.sleep(0.05)


@pytest.mark.parametrize("name", BOOSTING)
def test_boosting_stops_where_held_out_molecules_gain_nothing(name: str):
    model = baseline(name)
    inputs = model.represent(MOLS)
    noise = np.random.default_rng(0).normal(size=SIZE.shape).astype(np.float32)
    stopped = model.fit(Examples(inputs[:40], noise[:40]), Examples(inputs[40:], noise[40:]), kind="regression")
    (boosted,) = stopped.models
    trees = boosted.best_iteration_ if name == "lightgbm" else boosted.best_iteration
    assert trees < model.defaults["n_estimators"] / 4


@pytest.mark.parametrize("name", BOOSTING)
@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_boosting_needs_no_held_out_label(kind: str, name: str):
    model = baseline(name)
    examples = Examples(model.represent(MOLS), NITROGEN)
    silent = Examples(examples.inputs[:3], np.full_like(NITROGEN[:3], np.nan))
    settings = {"n_estimators": 100}
    assert model.fit(examples, silent, kind=kind, settings=settings).predict(examples.inputs).shape == NITROGEN.shape


def test_a_seed_repeats_itself(trees: str):
    assert np.allclose(fit(trees, SIZE, "regression", seed=5), fit(trees, SIZE, "regression", seed=5))  # of threads


def test_every_search_stays_within_the_settings():
    for name, model in BASELINES.items():
        trial = optuna.trial.FixedTrial(
            {
                **{"max_features": 0.1, "min_samples_leaf": 2, "learning_rate": 0.1},
                **{"max_depth": 4, "subsample": 0.7, "colsample_bytree": 0.5, "min_child_weight": 2.0},
                **{
                    "num_leaves": 15,
                    "min_child_samples": 5,
                    "penalty": 1.0,
                    "n_estimators": 4,
                    "softmax_temperature": 0.8,
                },
                **{"message-hidden-dim": 300, "depth": 4, "ffn-num-layers": 2, "dropout": 0.1},
            }
        )
        settings = model.space(trial)
        assert settings, name
        if name in QUICK:
            inputs = model.represent(MOLS[:12])
            examples = Examples(inputs, SIZE[:12])
            model.fit(examples, examples, kind="regression", settings={**settings, **QUICK[name]})


def test_an_unknown_baseline_is_told():
    with pytest.raises(UsageError, match="no baseline 'svm'; known are random_forest"):
        baseline("svm")


def test_chemprop_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="needs a command 'chemprop' on the PATH"):
        fit("chemprop", SIZE, "regression")


@pytest.mark.skipif(shutil.which("chemprop") is None, reason="there is no command chemprop")
@pytest.mark.parametrize(("labels", "kind"), [(NITROGEN, "classification"), (SIZE, "regression")])
def test_chemprop_learns_and_predicts(labels: np.ndarray, kind: str):
    model = baseline("chemprop")
    examples = Examples(model.represent(MOLS), labels)
    quick = {"epochs": 3, "message-hidden-dim": 20}
    found = model.fit(examples, examples, kind=kind, settings=quick).predict(examples.inputs)
    assert found.shape == labels.shape
    assert len(np.unique(found)) > 1
    assert kind == "regression" or (found.min() >= 0 and found.max() <= 1)


@pytest.mark.skipif(shutil.which("chemprop") is None, reason="there is no command chemprop")
def test_chemprop_that_fails_is_told():
    model = baseline("chemprop")
    examples = Examples(model.represent(MOLS), SIZE)
    with pytest.raises(GallonError, match="'chemprop train' failed"):
        model.fit(examples, examples, kind="regression", settings={"depth": "deep"})
