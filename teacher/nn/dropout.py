"""Dropout that costs a CPU a third of what torch's does.

torch draws one number of its generator for every value, and the generator is serial: a sixth of a training step of
D-MPNN, half of one of a perceptron over atoms. Here a draw of 64 bits decides over four values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 2**16  # that a draw of 16 bits has
VALUES_A_DRAW = 4


def dropout(values: Tensor, rate: float, training: bool) -> Tensor:
    """Set a share of the values to zero, and scale the others so that the mean stays, as `torch.dropout` does.

    Args:
        values: of any shape; on other devices than the CPU, torch's own is used.
        rate: the share, which is rounded to a multiple of 2^-16.
        training: otherwise all values stay.
    """
    dropped = round(rate * LEVELS)
    if not training or not 0 < dropped < LEVELS or values.device.type != "cpu":
        return torch.dropout(values, rate, training)
    draws = torch.empty(-(-values.numel() // VALUES_A_DRAW), dtype=torch.int64).random_(-(2**63), None)
    levels = draws.view(torch.int16)[: values.numel()].view(values.shape)  # each from -LEVELS / 2 on
    kept = (levels >= dropped - LEVELS // 2).to(values.dtype)
    return values * kept.mul_(LEVELS / (LEVELS - dropped))


class Dropout(nn.Module):
    """`dropout` as a layer."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """Drop a share of the values, in training."""
        return dropout(values, self.rate, self.training)
