"""BatchNorm whose statistics are those of all workers that share a fit.

Each worker sees its own part of a step. With statistics of that part alone, a fit would come out differently for every
number of workers. torch's own `SyncBatchNorm` does not run on CPUs.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from cluster.training.group import group_sum


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
        """Normalise by the mean and variance of the group's rows; outside of training, by the running ones.

        Every worker's number of rows, means and sums of squared deviations are brought together in one exchange, which
        costs more than a small layer computes, and combined as Chan, Golub and LeVeque do (COMPSTAT 1982, 30).
        """
        if not self.training:
            return super().forward(values)
        mean = values.sum(0) / max(1, len(values))
        mine = torch.cat([values.new_tensor([len(values)]), mean, ((values - mean) ** 2).sum(0)])
        rows, means, squares = torch.split(_of_everyone(mine), [1, len(mean), len(mean)], dim=1)
        rows, every = rows.detach(), rows.detach().sum()
        mean = (rows * means).sum(0) / every
        variance = (squares + rows * (means - mean) ** 2).sum(0) / every
        self._keep(mean.detach(), variance.detach() * every / (every - 1))
        normalised: Tensor = (values - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return normalised

    def _keep(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Move the running statistics towards those of a step."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_variance, self.momentum)


def _of_everyone(mine: Tensor) -> Tensor:
    """Return the numbers of every worker of the group, (workers, numbers)."""
    places = torch.arange(distributed.get_world_size(), device=mine.device)
    place = (places == distributed.get_rank()).to(mine.dtype)
    return group_sum(torch.outer(place, mine))
