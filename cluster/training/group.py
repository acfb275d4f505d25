"""The workers that share a fit, and what each of them has to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn.functional import pad

from cluster.training.fit import Fit
from cluster.training.shards import assign_shards
from teacher.nn.inputs import Inputs

T = TypeVar("T")


@dataclass(frozen=True)
class DataShard:
    """What a worker has to learn from.

    Attributes:
        inputs, columns: by name, of this worker's rows.
        rows: int64, ascending: the numbers of these rows among all.
    """

    inputs: Mapping[str, Inputs]
    columns: Mapping[str, np.ndarray]
    rows: np.ndarray

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Return where rows, numbered among all, stand in this part."""
        return np.searchsorted(self.rows, rows)


@dataclass(frozen=True)
class ProcessGroup:
    """The workers that share a fit: this one's number, how many there are, and what it computes on."""

    number: int
    size: int
    device: str

    def total(self, values: Tensor) -> Tensor:
        """Sum numbers over the group, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def gather(self, mine: Any) -> list[Any]:
        """Bring together what each has, in order."""
        if self.size == 1:
            return [mine]
        everything: list[Any] = [None] * self.size
        distributed.all_gather_object(everything, mine)
        return everything

    def agreed(self, decision: T) -> T:
        """Return what the first one decides."""
        decided: T = self.gather(decision)[0]
        return decided

    def mine(self, rows: np.ndarray) -> np.ndarray:
        """Return those out of some rows that this worker looks after."""
        chosen: np.ndarray = rows[rows % self.size == self.number]
        return chosen


def joined(mine: Tensor) -> tuple[Tensor, int]:
    """Bring together the rows of all workers that share a fit, of which each computes with all; gradients flow back.

    Args:
        mine: (N, features), this worker's.

    Returns:
        The rows of all, in the order of the workers, and the number of this worker's first one among them.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return mine, 0
    counts = torch.zeros(distributed.get_world_size(), device=mine.device)
    counts[distributed.get_rank()] = len(mine)
    ends = [int(end) for end in group_sum(counts).cumsum(0)]
    first = ends[distributed.get_rank()] - len(mine)
    return group_sum(pad(mine, (0, 0, first, ends[-1] - first - len(mine)))), first


def group_sum(values: Tensor) -> Tensor:
    """Return the sum over the group, through which the gradients of all its members flow back."""
    whole: Tensor = _GroupSum.apply(values)  # type: ignore[no-untyped-call]
    return whole


class _GroupSum(torch.autograd.Function):
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


def shard_of(
    fits: Sequence[Fit], inputs: Mapping[str, Inputs], columns: Mapping[str, np.ndarray], group: ProcessGroup
) -> DataShard:
    """Take what a worker of a group needs for some fits: what it looks after, and the molecules dealt to it."""
    used = {fit.inputs for fit in fits}
    names = {column for fit in fits for column in fit.targets.values()}
    everything = np.arange(len(inputs[next(iter(used))]))
    if group.size == 1:
        rows = everything
        return DataShard({name: inputs[name] for name in used}, {name: columns[name] for name in names}, rows)
    dealt = [fit.train for fit in fits if fit.stream]  # few beside the stream, and any of them may come in any step
    for fit in fits:
        if not fit.stream:
            rows, shards = assign_shards(fit)
            dealt.append(rows[shards % group.size == group.number])
    rows = np.unique(np.concatenate([group.mine(everything), *dealt]))
    return DataShard(
        {name: inputs[name].take(rows) for name in used}, {name: columns[name][rows] for name in names}, rows
    )
