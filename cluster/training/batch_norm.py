"""BatchNorm whose statistics are those of all workers that share a fit.

Each worker sees its own part of a step. With statistics of that part alone, a fit would come out differently for every
number of workers. torch's own `SyncBatchNorm` does not run on CPUs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


def with_shared_statistics(module: nn.Module) -> nn.Module:
    """Put `SharedBatchNorm` in the place of every BatchNorm1d of a module, with the same parameters and buffers."""
    if isinstance(module, nn.BatchNorm1d):
        return SharedBatchNorm.like(module)
    for name, child in module.named_children():
        setattr(module, name, with_shared_statistics(child))
    return module


class SharedBatchNorm(nn.BatchNorm1d):
    """BatchNorm (Ioffe and Szegedy, arXiv 1502.03167) of rows (N, features) that are spread over a process group."""

    @classmethod
    def like(cls, other: nn.BatchNorm1d) -> SharedBatchNorm:
        """Return one that shares the parameters and buffers of another."""
        shared = cls(other.num_features, other.eps, other.momentum)
        shared.weight, shared.bias = other.weight, other.bias
        shared.running_mean, shared.running_var = other.running_mean, other.running_var
        shared.num_batches_tracked = other.num_batches_tracked
        return shared

    def forward(self, values: Tensor) -> Tensor:
        """Normalise by the mean and variance of the group's rows; outside of training, by the running ones."""
        if not self.training:
            return super().forward(values)
        whole = _group_sum(torch.cat([values.sum(0), values.new_tensor([len(values)])]))
        sums, rows = whole[:-1], whole[-1].detach()
        mean = sums / rows
        centred = values - mean
        variance = _group_sum((centred**2).sum(0)) / rows
        self._keep(mean.detach(), variance.detach() * rows / (rows - 1))
        normalised: Tensor = centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return normalised

    def _keep(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Move the running statistics towards those of a step."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_variance, self.momentum)


def _group_sum(values: Tensor) -> Tensor:
    whole: Tensor = _GroupSum.apply(values)  # type: ignore[no-untyped-call]
    return whole


class _GroupSum(torch.autograd.Function):
    """The sum over the group, through which the gradients of all its members flow back."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(values: Tensor) -> Tensor:
    whole = values.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(whole)
    return whole
