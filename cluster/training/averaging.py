"""Weights that are averaged over epochs, so that what is kept does not hang on one epoch that validates well by luck.

A classification fit is validated by the ROC-AUC of a few molecules, whose strict maximum is often one of the first
epochs. An exponential moving average changes slowly, and so does its score (Polyak and Juditsky, SIAM J. Control Optim.
1992, 30, 838). Statistics of BatchNorm are averaged as well. `tests/benchmarks/epoch_choice.py` compares the ways.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from cluster.training.fit import Schedule


class AveragedLearner:
    """The moving average of a learner in training.

    Args:
        learner: whose weights are averaged.
        schedule: how long it remembers: a share of the epochs.
    """

    def __init__(self, learner: Any, schedule: Schedule) -> None:
        self._memory = max(1.0, schedule.averaging * schedule.epochs)
        self._of = learner
        self.learner = copy.deepcopy(learner) if self._memory > 1 else learner

    def update(self, epoch: int) -> None:
        """Take in the weights at the end of an epoch, counted from one; at first it is the mean of all so far."""
        if self.learner is self._of:
            return
        share = 1 / min(self._memory, epoch)
        with torch.no_grad():
            averages = self.learner.state_dict()
            for name, value in self._of.state_dict().items():
                if value.is_floating_point():
                    averages[name].lerp_(value, share)
                else:
                    averages[name].copy_(value)
