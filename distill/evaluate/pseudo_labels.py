"""An LLM's predictions of molecules without labels, as labels of a lower weight.

It is the role of an annotator in a survey of LLMs for graphs (arXiv 2404.14928): predictions ease the need for labels.
How far they are to be trusted is not the LLM's to say: the weight is the one of `WEIGHTS` that validates best, 0 among
them, so that predictions that mislead are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cluster.training.driver import FitProgress, TrainResources, fit_all
from distill.judge.judged import SeededSplit
from distill.learn.fits import NOTHING, Batch, DistillationTargets
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import Recipe
from distill.models.ensemble import logits
from teacher.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cluster.training.fit import Outcome

WEIGHTS = (0.0, 0.1, 0.3, 1.0)  # of a predicted label, where a measured one counts 1


def learn(
    model_inputs: ModelInputs,
    cases: Sequence[SeededSplit],
    students: Sequence[Recipe],
    folder: Path,
    *,
    resources: TrainResources,
    show: Callable[[FitProgress], None] | None = None,
) -> list[tuple[float, Outcome, list[Outcome]]]:
    """Train students on labels and on predictions of the transfer set, at each weight.

    Args:
        model_inputs: the dataset, with its transfer set, of which the LLM was asked (`--predictions`).
        cases: seeds and splits.
        students: the recipe of each case's student.
        folder: where fits lie.
        resources: the workers.
        show: called with the progress.

    Returns:
        Of each case the weight that validates best, its fit, and all fits.

    Raises:
        UsageError: there is no transfer set, or the LLM predicts nothing of it.
        TrainingError: the workers kept dying.
    """
    wider = model_inputs.transfer
    if wider is None:
        raise UsageError("Pseudo-labels are of molecules without labels: name a library of them by --transfer.")
    predicted = pseudo_labels(wider, len(model_inputs.dataset))
    known = np.flatnonzero(np.isfinite(predicted[:, 0]))
    if not len(known):
        raise UsageError(
            "The LLM predicts nothing of the transfer set: run 'gallon annotate' on it with the few-shot prompt."
        )
    batch = Batch(wider)
    for case, student in zip(cases, students, strict=True):
        for weight in WEIGHTS:
            targets = DistillationTargets(soft={"llm": (predicted, weight)}) if weight else NOTHING
            rows = np.concatenate([case.split.train, known]) if weight else case.split.train
            batch.add(student, case.split, case.seed, train=rows, targets=targets)
    outcomes = fit_all(batch.fit_set, folder, resources, show)
    found = []
    for first in range(0, len(outcomes), len(WEIGHTS)):
        tried = outcomes[first : first + len(WEIGHTS)]
        best = int(np.argmax([outcome.score for outcome in tried]))
        found.append((WEIGHTS[best], tried[best], list(tried)))
    return found


def pseudo_labels(wider: ModelInputs, labelled: int) -> NDArray[np.float32]:
    """Return what the LLM predicts of a transfer set: (molecules, 1), logits of classes, or values; else NaN.

    Args:
        wider: the dataset with its transfer set behind it.
        labelled: molecules of the dataset, of which nothing predicted is learnt: not even of the training part.
    """
    values = wider.guessed.values.astype(np.float64)
    values[:labelled] = np.nan
    known = logits(values) if wider.dataset.kind == "classification" else values
    return known.astype(np.float32)[:, None]
