"""What a training measures of itself, for Ray's dashboard, Prometheus and Grafana."""

from __future__ import annotations

from cluster.metrics import LOSS, SCORE, TRAINED


class TrainingMetrics:
    """What a training counts of one model.

    Args:
        run: id of the training.
        model: what is trained: `dmpnn`, `lm`, `student-atoms`, ...
    """

    def __init__(self, run: str, model: str) -> None:
        self._tags = {"run": run, "model": model}

    def trained(self, molecules: int, loss: float) -> None:
        """Note an epoch: how many molecules, and the loss over them."""
        TRAINED.add(molecules, **self._tags)
        LOSS.set(loss, **self._tags)

    def validated(self, score: float) -> None:
        """Note the score on the validation part."""
        SCORE.set(score, **self._tags)
