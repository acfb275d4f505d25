"""The baselines by name.

Nearly all neural models gain little over fingerprints and trees (arXiv 2508.06199), so a table without them claims too
much. All baselines are learned and asked in one way: `represent` turns molecules into inputs, once for all seeds and
settings; `fit` learns from some of the inputs; `predict` answers for others.
"""

from __future__ import annotations

import functools
from typing import Literal

from distill.evaluate.baselines import trees
from distill.evaluate.baselines.baseline import Baseline
from distill.evaluate.baselines.chemprop_cli import chemprop_fit, chemprop_inputs, chemprop_space
from distill.evaluate.baselines.linear import fit_linear, linear_space
from distill.evaluate.baselines.tabpfn import fit_tabpfn, tabpfn_space
from distill.features.pretrained.encoders import vectors_of
from distill.features.vectors import ecfp, fingerprint_features
from teacher.errors import UsageError


def baseline(name: str) -> Baseline:
    """Return a baseline by its name.

    Raises:
        UsageError: there is no such baseline.
    """
    if name not in BASELINES:
        raise UsageError(f"There is no baseline '{name}'; known are {', '.join(BASELINES)}.")
    return BASELINES[name]


def _linear(title: str, kind: Literal["minimol", "chemeleon"]) -> Baseline:
    return Baseline(
        title=f"{title}'s vectors + ridge or logistic regression",
        represent=functools.partial(vectors_of, kind),
        defaults={"penalty": None},
        space=linear_space,
        fitting=fit_linear,
        packages=("scikit-learn",),
        pretrained=kind,
    )


BASELINES = {
    "random_forest": Baseline(
        title="ECFP4 + random forest",
        represent=ecfp,
        # scikit-learn's own defaults for classes and for numbers, with more trees: they cost time only.
        defaults={"n_estimators": 500},
        space=trees.random_forest_space,
        fitting=trees.fit_random_forest,
        packages=("scikit-learn",),
    ),
    "gradient_boosting": Baseline(
        title="ECFP4 counts + descriptors + XGBoost",
        represent=fingerprint_features,
        # A small rate and early stopping, as is usual: XGBoost's own 0.3 and 100 trees overfit sets of some thousands.
        defaults={"n_estimators": 2000, "learning_rate": 0.05, "max_depth": 6, "early_stopping_rounds": 50},
        space=trees.xgboost_space,
        fitting=trees.fit_xgboost,
        packages=("xgboost", "xgboost-cpu"),
    ),
    "lightgbm": Baseline(
        title="ECFP4 counts + descriptors + LightGBM",
        represent=fingerprint_features,
        # As XGBoost, with LightGBM's own leaves.
        defaults={"n_estimators": 2000, "learning_rate": 0.05, "num_leaves": 31, "early_stopping_rounds": 50},
        space=trees.lightgbm_space,
        fitting=trees.fit_lightgbm,
        packages=("lightgbm",),
    ),
    "tabpfn": Baseline(
        title="descriptors + TabPFN",
        represent=fingerprint_features,
        defaults={"n_estimators": 8, "softmax_temperature": 0.9},  # its own
        space=tabpfn_space,
        fitting=fit_tabpfn,
        packages=("tabpfn",),
        pretrained="tabpfn",
    ),
    "minimol-linear": _linear("MiniMol", "minimol"),
    "chemeleon-linear": _linear("CheMeleon", "chemeleon"),
    "chemprop": Baseline(
        title="chemprop",
        represent=chemprop_inputs,
        # Its own defaults, spelled out.
        defaults={"epochs": 50, "message-hidden-dim": 300, "depth": 3, "ffn-num-layers": 1, "dropout": 0.0},
        space=chemprop_space,
        fitting=chemprop_fit,
    ),
}
