"""Baselines that grow trees: random forests, and gradient boosting by XGBoost and by LightGBM."""

from __future__ import annotations

from itertools import chain
from threading import Event
from typing import TYPE_CHECKING, Any

from distill.data.cells import Kind
from distill.evaluate.baselines.baseline import Examples, Settings
from distill.evaluate.baselines.per_target import OnePerTarget

if TYPE_CHECKING:
    from optuna import Trial

TREES_AT_ONCE = 20


def fit_random_forest(train: Examples, valid: Examples, *, kind: Kind, settings: Settings, seed: int) -> OnePerTarget:
    """Grow forests, one a target."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kinds = {"classification": RandomForestClassifier, "regression": RandomForestRegressor}

    def learn(examples: Examples, _: Examples, stop: Event) -> Any:
        """Grow the forest some trees at a time, the same as in one go: what was interrupted stops growing."""
        whole = dict(settings)
        trees = whole.pop("n_estimators")
        forest = kinds[kind](**whole, n_jobs=-1, random_state=seed, warm_start=True)
        for grown in chain(range(TREES_AT_ONCE, trees, TREES_AT_ONCE), [trees]):
            if stop.is_set():
                break
            forest.set_params(n_estimators=grown).fit(examples.inputs, examples.labels)
        return forest

    return OnePerTarget.fit(learn, train, valid, kind)


def random_forest_space(trial: Trial) -> dict[str, Any]:
    """Return settings of a forest for an Optuna trial."""
    return {
        "max_features": trial.suggest_categorical("max_features", ["sqrt", 0.1, 0.3, 1.0]),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 10, log=True),
    }


def fit_xgboost(train: Examples, valid: Examples, *, kind: Kind, settings: Settings, seed: int) -> OnePerTarget:
    """Boost trees by XGBoost, one model a target, until the held-out loss no longer falls."""
    from xgboost import XGBClassifier, XGBRegressor

    kinds = {"classification": XGBClassifier, "regression": XGBRegressor}

    def learn(examples: Examples, held_out: Examples, stop: Event) -> Any:
        stopping = {"callbacks": [stop_boosting(stop)], "random_state": seed}
        if not len(held_out.labels):
            few = {**_few(settings), "early_stopping_rounds": None}
            return kinds[kind](**few, **stopping).fit(examples.inputs, examples.labels)
        return kinds[kind](**settings, **stopping).fit(
            examples.inputs, examples.labels, eval_set=[(held_out.inputs, held_out.labels)], verbose=False
        )

    return OnePerTarget.fit(learn, train, valid, kind)


def stop_boosting(stop: Event) -> Any:
    """Return what ends XGBoost's training after the round in which an event was set."""
    from xgboost.callback import TrainingCallback

    class StopBoosting(TrainingCallback):  # type: ignore[misc]  # XGBoost is not checked
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return stop.is_set()

    return StopBoosting()


def _few(settings: Settings) -> dict[str, Any]:
    """Return settings for where nothing tells when to stop: a tenth of the trees."""
    return {**settings, "n_estimators": settings["n_estimators"] // 10}


def xgboost_space(trial: Trial) -> dict[str, Any]:
    """Return settings of XGBoost for an Optuna trial."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "max_depth": trial.suggest_int("max_depth", 3, 9),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.1, 1.0),
        "min_child_weight": trial.suggest_float("min_child_weight", 1.0, 10.0, log=True),
    }


def fit_lightgbm(train: Examples, valid: Examples, *, kind: Kind, settings: Settings, seed: int) -> OnePerTarget:
    """Boost trees by LightGBM (Ke et al., NeurIPS 2017), one model a target, as `fit_xgboost` does."""
    from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping
    from lightgbm.callback import CallbackEnv, EarlyStopException

    kinds = {"classification": LGBMClassifier, "regression": LGBMRegressor}
    fixed = {"random_state": seed, "deterministic": True, "force_col_wise": True, "verbosity": -1}

    def learn(examples: Examples, held_out: Examples, stop: Event) -> Any:
        def stop_early(state: CallbackEnv) -> None:
            if stop.is_set():
                raise EarlyStopException(state.iteration, [])

        own = dict(settings)
        rounds = own.pop("early_stopping_rounds")
        if not len(held_out.labels):
            return kinds[kind](**_few(own), **fixed).fit(examples.inputs, examples.labels, callbacks=[stop_early])
        return kinds[kind](**own, **fixed).fit(
            examples.inputs,
            examples.labels,
            eval_X=held_out.inputs,
            eval_y=held_out.labels,
            callbacks=[early_stopping(rounds, verbose=False), stop_early],
        )

    return OnePerTarget.fit(learn, train, valid, kind)


def lightgbm_space(trial: Trial) -> dict[str, Any]:
    """Return settings of LightGBM for an Optuna trial."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 7, 127, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "subsample_freq": 1,
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.1, 1.0),
        "min_child_samples": trial.suggest_int("min_child_samples", 5, 50, log=True),
    }
