"""Whether labels can be learnt from and judged by, under a split: told before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from distill.data.dataset import Dataset
from distill.data.splits import PARTS, Split
from distill.learn.metrics import can_be_scored
from teacher.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESOLUTION = float(np.finfo(np.float32).eps)  # standard deviations by which networks can tell labels apart at best


def check(split: Split, dataset: Dataset) -> list[str]:
    """Say what can be learned but not judged by a split.

    Returns:
        One sentence for each target that validation or test cannot score (one class only, or fewer than two labels),
        and one more where validation can score none, so that it chooses no epochs.

    Raises:
        UsageError: the training part has no labels of a target, or only one value; or a label is so far from the others
            that float32 does not tell them apart beside it.
    """
    warnings = []
    under = "The" if split.seed is None else f"Under seed {split.seed} the"
    for column, target in enumerate(dataset.targets):
        for name in PARTS:
            labels = dataset.labels[getattr(split, name), column]
            labels = labels[~np.isnan(labels)]
            if name == "train" and len(np.unique(labels)) < 2:
                raise UsageError(
                    f"The training part of the {split.kind} split of {dataset.name} has {_has(labels, target.kind)} of "
                    f"'{target.name}'; use another kind of split, or leave the target out."
                )
            if not can_be_scored(target.kind, labels):
                has = _has(labels, target.kind)
                warnings.append(f"{under} {name} part has {has} of '{target.name}', so it cannot be scored there.")
        if target.kind == "regression":
            _check_range(split, dataset, column)
    valid = dataset.labels[split.valid]
    if not any(can_be_scored(dataset.kind, labels[~np.isnan(labels)]) for labels in valid.T):
        warnings.append(f"{under} valid part can score nothing, so the epochs that are kept are chosen by the loss.")
    return warnings


def _has(labels: NDArray[Any], kind: str) -> str:
    """Say what there is of labels that are too few."""
    if not len(labels):
        return "no labels"
    if len(labels) == 1:
        return "one label only"
    return f"only the {'class' if kind == 'classification' else 'value'} {labels[0]:g}"


def _check_range(split: Split, dataset: Dataset, column: int) -> None:
    """Refuse labels beside which most of the others become one value when they are standardised."""
    labels = dataset.labels[:, column].astype(np.float64)
    train = labels[split.train]
    train = train[~np.isnan(train)]
    mean, deviation = train.mean(), train.std()
    gaps = len(np.unique(train)) - 1
    gaps_left = len(np.unique(np.round((train - mean) / deviation / RESOLUTION))) - 1
    lost = gaps_left < gaps and gaps_left <= gaps / 2
    if lost or np.nanmax(np.abs(labels - mean)) > deviation / RESOLUTION:
        farthest = int(np.nanargmax(np.abs(labels - np.nanmedian(labels))))
        name, smiles = dataset.targets[column].name, dataset.smiles[farthest]
        raise UsageError(
            f"The label {labels[farthest]:g} of '{name}' ({smiles}) is so far from the others that they cannot be told "
            "apart beside it; correct it, or leave it empty."
        )
