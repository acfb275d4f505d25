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

TREES_AT_ONCE = 20


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
    def fit(
        cls, learn: Callable[[Examples, Examples], Any], train: Examples, valid: Examples, kind: Kind
    ) -> _OnePerTarget:
        columns = range(train.labels.shape[1])
        models = (learn(_with_label(train, column), _with_label(valid, column)) for column in columns)
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


def _with_label(examples: Examples, column: int) -> Examples:
    """Return the examples that have a label of one target, labels as (N,)."""
    known = ~np.isnan(examples.labels[:, column])
    return Examples(examples.inputs[known], examples.labels[known, column])


def _fit_random_forest(train: Examples, valid: Examples, *, kind: Kind, settings: Settings, seed: int) -> _OnePerTarget:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kinds = {"classification": RandomForestClassifier, "regression": RandomForestRegressor}

    def learn(examples: Examples, _: Examples) -> Any:
        """Grow the forest some trees at a time, the same as in one go: an interrupt waits for what is growing."""
        whole = dict(settings)
        trees = whole.pop("n_estimators")
        forest = kinds[kind](**whole, n_jobs=-1, random_state=seed, warm_start=True)
        for grown in (*range(TREES_AT_ONCE, trees, TREES_AT_ONCE), trees):
            forest.set_params(n_estimators=grown).fit(examples.inputs, examples.labels)
        return forest

    return _OnePerTarget.fit(learn, train, valid, kind)


def _random_forest_space(trial: Trial) -> dict[str, Any]:
    return {
        "max_features": trial.suggest_categorical("max_features", ["sqrt", 0.1, 0.3, 1.0]),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 10, log=True),
    }


def _fit_gradient_boosting(
    train: Examples, valid: Examples, *, kind: Kind, settings: Settings, seed: int
) -> _OnePerTarget:
    from xgboost import XGBClassifier, XGBRegressor

    kinds = {"classification": XGBClassifier, "regression": XGBRegressor}

    def learn(examples: Examples, held_out: Examples) -> Any:
        """Stop once the held-out loss no longer falls; without a label there, at a tenth of the trees."""
        if not len(held_out.labels):
            few = {**settings, "n_estimators": settings["n_estimators"] // 10, "early_stopping_rounds": None}
            return kinds[kind](**few, random_state=seed).fit(examples.inputs, examples.labels)
        return kinds[kind](**settings, random_state=seed).fit(
            examples.inputs, examples.labels, eval_set=[(held_out.inputs, held_out.labels)], verbose=False
        )

    return _OnePerTarget.fit(learn, train, valid, kind)


def _gradient_boosting_space(trial: Trial) -> dict[str, Any]:
    return {
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
        # A small rate and early stopping, as is usual: XGBoost's own 0.3 and 100 trees overfit sets of some thousands.
        defaults={"n_estimators": 2000, "learning_rate": 0.05, "max_depth": 6, "early_stopping_rounds": 50},
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
