"""The workers that share a fit, and what each of them has to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch.distributed
from torch import Tensor

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
            torch.distributed.all_reduce(values)
        return values

    def gather(self, mine: Any) -> list[Any]:
        """Bring together what each has, in order."""
        if self.size == 1:
            return [mine]
        everything: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(everything, mine)
        return everything

    def agreed(self, decision: T) -> T:
        """Return what the first one decides."""
        decided: T = self.gather(decision)[0]
        return decided

    def mine(self, rows: np.ndarray) -> np.ndarray:
        """Return those out of some rows that this worker looks after."""
        chosen: np.ndarray = rows[rows % self.size == self.number]
        return chosen


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
