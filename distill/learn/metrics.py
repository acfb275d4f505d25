"""How good predictions are."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.cells import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAIN_METRIC: dict[Kind, str] = {"classification": "roc_auc", "regression": "rmse"}


def main_metric(kind: Kind) -> str:
    """Return the metric that MoleculeNet ranks by: ROC-AUC for classes (larger is better), RMSE for numbers."""
    return MAIN_METRIC[kind]


def better(kind: Kind, new: float, old: float) -> bool:
    """Say whether one value of the main metric is better than another; any value is better than NaN."""
    if np.isnan(old):
        return not np.isnan(new)
    return new > old if kind == "classification" else new < old


def score(kind: Kind, truth: NDArray[Any], prediction: NDArray[Any]) -> dict[str, float]:
    """Score predictions, each target by itself, and average over the targets.

    Args:
        kind: what all targets are.
        truth: (N, T) labels, NaN where missing; classes are 0 and 1.
        prediction: (N, T) finite numbers; for classes the probability of 1, or its logit, which rank alike.

    Returns:
        For classes `roc_auc` and `average_precision`; for numbers `rmse` and `mae`, in the unit of the labels or, of
        several targets, each in that of the labels' standard deviation (`unit`), and `r2`. Also `targets`, how many
        were scored, and `left_out`, how many could not be: those with one class only, or with fewer than two labels.
        The metrics are NaN where no target could be scored.
    """
    scores = []
    targets = truth.shape[1]
    for labels, guesses in zip(truth.T, prediction.T, strict=True):
        known = ~np.isnan(labels)
        if can_be_scored(kind, labels[known]):
            scores.append(_score_one(kind, labels[known], guesses[known], unit(kind, labels[known], targets)))
    names = _score_names(kind)
    means = np.mean(scores, axis=0).tolist() if scores else [float("nan")] * len(names)
    counts = {"targets": float(len(scores)), "left_out": float(truth.shape[1] - len(scores))}
    return dict(zip(names, means, strict=True)) | counts


def retrieval(
    graphs: NDArray[np.float32], texts: NDArray[np.float32], identity: NDArray[np.float32]
) -> dict[str, float]:
    """Say how well molecules find their texts among all of these; a text that is word for word the same is right, too.

    Args:
        graphs: (N, D).
        texts: (N, D), in the same space; the text of a molecule has its row.
        identity: (N, columns), the same for texts that are the same.

    Returns:
        `texts`, how many there are; `recall@1` and `recall@10`, the shares of molecules whose text is the nearest, or
        among the ten nearest; and `auc`, the mean share of other texts that are less near (by chance 0.5). A text as
        near as the right one counts as nearer for recalls, and half for `auc`. NaN where there are no other texts.
    """
    nearness = graphs @ texts.T
    other = (identity[:, None] != identity[None]).any(axis=2)
    own = np.diag(nearness)[:, None]
    nearer, as_near = (nearness > own) & other, (nearness == own) & other
    before = (nearer | as_near).sum(axis=1)
    some = other.any(axis=1)
    beaten = 1 - (nearer.sum(axis=1) + as_near.sum(axis=1) / 2)[some] / other.sum(axis=1)[some]
    recalls = {f"recall@{number}": float((before[some] < number).mean()) if some.any() else nan for number in (1, 10)}
    return {"texts": float(len(texts)), **recalls, "auc": float(beaten.mean()) if some.any() else nan}


def unit(kind: Kind, labels: NDArray[Any], targets: int) -> float:
    """Return what errors of a target are divided by, so that those of several can be averaged.

    Energies in hartree and polarisabilities in cubic bohr (QM9) have no common unit: of several numbers it is the
    standard deviation of the known labels that are judged by; else 1.
    """
    spread = float(np.std(labels.astype(np.float64))) if kind == "regression" and targets > 1 else 1.0
    return spread or 1.0


def can_be_scored(kind: Kind, labels: NDArray[Any]) -> bool:
    """Say whether predictions can be held against the known labels of a target: both classes, or two numbers."""
    return len(np.unique(labels)) == 2 if kind == "classification" else len(labels) >= 2


def _score_names(kind: Kind) -> tuple[str, ...]:
    return ("roc_auc", "average_precision") if kind == "classification" else ("rmse", "mae", "r2")


def _score_one(kind: Kind, labels: NDArray[Any], guesses: NDArray[Any], of: float) -> tuple[float, ...]:
    from sklearn import metrics

    if kind == "classification":
        return metrics.roc_auc_score(labels, guesses), metrics.average_precision_score(labels, guesses)
    labels, guesses = labels.astype(np.float64), guesses.astype(np.float64)  # squares of float32 overflow early
    return (
        metrics.root_mean_squared_error(labels, guesses) / of,
        metrics.mean_absolute_error(labels, guesses) / of,
        metrics.r2_score(labels, guesses),
    )
