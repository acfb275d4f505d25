"""Models without a teacher, to be printed beside everything that has one.

Nearly all neural models gain little over fingerprints and trees (arXiv 2508.06199), so a table without them claims too
much. All baselines are learned and asked in one way: `represent` turns molecules into inputs, once for all seeds and
settings; `fit` learns from some of the inputs; `predict` answers for others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.cells import Kind
from distill.evaluate.baseline import Baseline, Examples, Settings
from distill.evaluate.chemprop_cli import chemprop_fit, chemprop_inputs, chemprop_space
from distill.features.vectors import ecfp, fingerprint_features
from teacher.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from optuna import Trial


def baseline(name: str) -> Baseline:
    """Return a baseline by its name.

    Raises:
        UsageError: there is no such baseline.
    """
    if name not in BASELINES:
        raise UsageError(f"There is no baseline '{name}'; known are {', '.join(BASELINES)}.")
    return BASELINES[name]


@dataclass(frozen=True, slots=True)
class _OnePerTarget:
    """Models of scikit-learn's manner, one for each target, each learned from the rows that have its label."""

    models: tuple[Any, ...]
    kind: Kind

    @classmethod
    def fit(cls, new: Callable[[], Any], train: Examples, kind: Kind) -> _OnePerTarget:
        models = []
        for labels in train.labels.T:
            known = ~np.isnan(labels)
            models.append(new().fit(train.inputs[known], labels[known]))
        return cls(tuple(models), kind)

    def predict(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        return np.stack([self._predict_one(model, inputs) for model in self.models], axis=1).astype(np.float32)

    def _predict_one(self, model: Any, inputs: NDArray[Any]) -> NDArray[Any]:
        if self.kind == "regression":
            numbers: NDArray[Any] = model.predict(inputs)
            return numbers
        # A model that has seen one class in training has one column only, which may be that of class 0.
        of_class_1: NDArray[Any] = model.predict_proba(inputs)[:, np.asarray(model.classes_) == 1].sum(axis=1)
        return of_class_1


def _fit_random_forest(train: Examples, valid: Examples, *, kind: Kind, settings: Settings, seed: int) -> _OnePerTarget:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    model = RandomForestClassifier if kind == "classification" else RandomForestRegressor
    return _OnePerTarget.fit(lambda: model(**settings, n_jobs=-1, random_state=seed), train, kind)


def _random_forest_space(trial: Trial) -> dict[str, Any]:
    return {
        "max_features": trial.suggest_categorical("max_features", ["sqrt", 0.1, 0.3, 1.0]),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 10, log=True),
    }


def _fit_gradient_boosting(
    train: Examples, valid: Examples, *, kind: Kind, settings: Settings, seed: int
) -> _OnePerTarget:
    from xgboost import XGBClassifier, XGBRegressor

    model = XGBClassifier if kind == "classification" else XGBRegressor
    return _OnePerTarget.fit(lambda: model(**settings, random_state=seed), train, kind)


def _gradient_boosting_space(trial: Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("n_estimators", 50, 1000, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "max_depth": trial.suggest_int("max_depth", 3, 9),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.1, 1.0),
        "min_child_weight": trial.suggest_float("min_child_weight", 1.0, 10.0, log=True),
    }


BASELINES = {
    "random_forest": Baseline(
        title="ECFP4 + random forest",
        represent=ecfp,
        # scikit-learn's own defaults for classes and for numbers, with more trees: they cost time only.
        defaults={"n_estimators": 500},
        space=_random_forest_space,
        fitting=_fit_random_forest,
    ),
    "gradient_boosting": Baseline(
        title="ECFP4 counts + descriptors + XGBoost",
        represent=fingerprint_features,
        # XGBoost's own defaults, spelled out.
        defaults={"n_estimators": 100, "learning_rate": 0.3, "max_depth": 6},
        space=_gradient_boosting_space,
        fitting=_fit_gradient_boosting,
    ),
    "chemprop": Baseline(
        title="chemprop",
        represent=chemprop_inputs,
        # Its own defaults, spelled out.
        defaults={"epochs": 50, "message-hidden-dim": 300, "depth": 3, "ffn-num-layers": 1, "dropout": 0.0},
        space=chemprop_space,
        fitting=chemprop_fit,
    ),
}
