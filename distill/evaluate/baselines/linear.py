"""A baseline that weighs columns: ridge or logistic regression, whose penalty the validation part chooses."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.cells import Kind
from distill.evaluate.baselines.baseline import Examples, Settings
from distill.evaluate.baselines.per_target import OnePerTarget

if TYPE_CHECKING:
    from optuna import Trial

PENALTIES = tuple(10.0**power for power in range(-3, 6))
USUAL = 1.0  # scikit-learn's own, where there is nothing to choose by


def fit_linear(train: Examples, valid: Examples, *, kind: Kind, settings: Settings, seed: int) -> OnePerTarget:
    """Weigh standardised columns, one model a target; where a value is missing, that of the mean stands.

    A `penalty` of None is that of `PENALTIES` with the least squared error, or log loss, on `valid`.
    """

    def learn(examples: Examples, held_out: Examples, stop: Event) -> Any:
        penalty, inputs = settings["penalty"], examples.inputs.astype(np.float64)  # columns are nearly alike
        if penalty is not None or not len(held_out.labels):
            return _model(kind, penalty or USUAL).fit(inputs, examples.labels)
        best: tuple[float, Any] = (np.inf, None)
        for each in PENALTIES:
            if stop.is_set():
                break
            model = _model(kind, each).fit(inputs, examples.labels)
            best = min(best, (_loss(model, held_out, kind), model), key=lambda found: found[0])
        return best[1]

    return OnePerTarget.fit(learn, train, valid, kind)


def linear_space(trial: Trial) -> dict[str, Any]:
    """Return the penalty for an Optuna trial."""
    return {"penalty": trial.suggest_float("penalty", PENALTIES[0], PENALTIES[-1], log=True)}


def _model(kind: Kind, penalty: float) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    last = Ridge(alpha=penalty) if kind == "regression" else LogisticRegression(C=1 / penalty, max_iter=1_000)
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), last)


def _loss(model: Any, held_out: Examples, kind: Kind) -> float:
    from sklearn.metrics import log_loss, mean_squared_error

    if kind == "regression":
        return float(mean_squared_error(held_out.labels, model.predict(held_out.inputs)))
    return float(log_loss(held_out.labels, model.predict_proba(held_out.inputs), labels=model.classes_))
