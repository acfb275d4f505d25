"""What is trained: a fit, its schedule, what it reads and learns from, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from cluster.training.stream import Stream
    from teacher.nn.inputs import Inputs

LEAST_BATCH = 3  # half of it, and no less stands in the last step, is still two molecules

Terms = Mapping[str, "tuple[Tensor, Tensor]"]


class Learner(Protocol):
    """What is trained: a torch module that can be scored and asked.

    Called with a batch and its targets it returns the terms of its loss: for each the sum over what there is to learn,
    already weighted, and the number of things that it sums, both scalars. The loss is the sum of the terms' means.
    """

    def __call__(self, batch: Any, targets: Mapping[str, Tensor]) -> Terms:
        """Return the terms of the loss."""

    def predict(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Return predictions (B, targets) and representations (B, width)."""

    def truth(self, labels: Tensor) -> Tensor:
        """Return what predictions are compared with, a row for each row of labels: those, or what it makes of them."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: at most; the best by the validation score is kept.
        averaging: share of the epochs over which weights are averaged (`loop.AveragedLearner`) before they are
            validated and kept; 0 keeps those of an epoch as they are.
        batch_size: molecules of a step, over all workers together, 3 or more; the last step of an epoch takes between a
            half and one and a half of them. None takes all at once.
        learning_rate: after the warm-up.
        decay: "cosine" lets it fall to zero until the last epoch, "none" keeps it.
        warm_up: share of the steps over which it rises from zero.
        weight_decay: of AdamW, decoupled.
        gradient_norm: at most, over all parameters; None does not clip.
    """

    epochs: int
    batch_size: int | None = 64
    learning_rate: float = 1e-3
    decay: Literal["cosine", "none"] = "cosine"
    warm_up: float = 0.05
    weight_decay: float = 1e-4
    gradient_norm: float | None = 5.0
    averaging: float = 0.0

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < LEAST_BATCH:
            raise ValueError(
                f"A batch of {self.batch_size} leaves steps of one molecule, which BatchNorm cannot learn."
            )

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from zero, out of so many."""
        warm = min(1.0, (step + 1) / max(1.0, self.warm_up * steps))
        cooled = (1 + math.cos(math.pi * step / steps)) / 2 if self.decay == "cosine" else 1.0
        return self.learning_rate * warm * cooled


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One network to train.

    Attributes:
        id: digest of all that decides its result; the folder of its result is named by it.
        name: what people call it.
        build: makes the `Learner`, a torch module at its random start.
        inputs: the name of what it reads.
        targets: the name of the column behind each target of the learner; "labels" must be among them.
        train, valid: int64, rows to learn from and rows to choose the best epoch by.
        score: maps what predictions are compared with (`Learner.truth`) and predictions, a row for each molecule, to a
            number; greater is better. Where it is NaN the training loss judges the epochs.
        schedule: how long and how fast.
        seed: of the start, the order of the molecules, and dropout.
        stream: further molecules to learn from, which are not held in memory; an epoch goes once through them.
        labelled_share: of a step's molecules, those out of `train`, where there is a stream; 0 learns of it alone.
        shareable: whether workers gain by computing parts of a step each. Those of a perceptron do not: its gradients
            take longer to exchange than to compute.
    """

    id: str
    name: str
    build: Callable[[], Any]
    inputs: str
    targets: Mapping[str, str]
    train: np.ndarray
    valid: np.ndarray
    score: Callable[[np.ndarray, np.ndarray], float]
    schedule: Schedule
    seed: int = 0
    stream: Stream | None = None
    labelled_share: float = 0.25
    shareable: bool = True


@dataclass(frozen=True, kw_only=True)
class FitSet:
    """Fits, and what they read and learn from.

    Attributes:
        inputs: by name; all of one kind have the same rows.
        columns: float32 by name, one entry a row, NaN where nothing is known.
    """

    fits: Sequence[Fit]
    inputs: Mapping[str, Inputs]
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a fit.

    Attributes:
        prediction: float32, shape (rows, targets), for every row of its inputs.
        outputs: the file with the prediction and the representation, in safetensors.
        score: the best validation score, or where none was to be had, less the training loss of the same epoch.
        epochs: trained; `best_epoch` counts from one.
        history: of each epoch the terms of the loss, the loss, and the score.
        weights: the file with the learner's parameters of its best epoch, averaged if the schedule says so, in
            safetensors.
        seconds: of training.
    """

    prediction: np.ndarray
    outputs: Path
    score: float
    epochs: int
    best_epoch: int
    history: Sequence[Mapping[str, float]]
    weights: Path
    seconds: float

    @property
    def representation(self) -> np.ndarray:
        """Of every row, float32, shape (rows, width): read where it is asked for, since that of most fits is not.

        Those of all fits of a comparison of 41,000 molecules under 25 splits would take 26 GB.
        """
        from safetensors import safe_open

        with safe_open(self.outputs, "numpy") as file:
            found: np.ndarray = file.get_tensor("representation")
        return found
