"""What a worker computes in each step of an epoch: out of memory, or labelled molecules beside a stream of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cluster.training.fit import Fit
from cluster.training.group import DataShard, ProcessGroup
from cluster.training.shards import batches, steps, stream_sizes
from cluster.training.stream import pieces
from teacher.nn.graphs import join_batches

Example = tuple[Any, dict[str, Tensor]]  # a batch of inputs, and its targets by name


class Examples(Protocol):
    """The steps of a fit, as one worker sees them.

    Attributes:
        molecules: that an epoch goes through, over all workers.
    """

    molecules: int

    def of_epoch(self, epoch: int, first: int) -> Iterator[Example]:
        """Yield what this worker computes in each step of an epoch, from step `first` on."""


def examples_of(fit: Fit, part: DataShard, group: ProcessGroup) -> Examples:
    """Return the steps of a fit for a worker of a group."""
    return StreamedExamples(fit, part, group) if fit.stream else HeldExamples(fit, part, group)


class _Held:
    """The molecules in memory."""

    def __init__(self, fit: Fit, part: DataShard) -> None:
        self._part = part
        self._inputs = part.inputs[fit.inputs]
        self._columns = {target: part.columns[name] for target, name in fit.targets.items()}

    def batch(self, rows: np.ndarray) -> tuple[Any, dict[str, np.ndarray]]:
        """Return inputs and targets of rows, numbered among all."""
        places = self._part.places(rows)
        return self._inputs.batch(places), {name: column[places] for name, column in self._columns.items()}


class HeldExamples:
    """The training molecules of a fit, all of them in memory."""

    def __init__(self, fit: Fit, part: DataShard, group: ProcessGroup) -> None:
        self._fit, self._group, self._held = fit, group, _Held(fit, part)
        self.molecules = len(fit.train)

    def of_epoch(self, epoch: int, first: int) -> Iterator[Example]:
        """Yield the steps of an epoch: each molecule stands in one."""
        if self._fit.schedule.batch_size is None:
            yield self._whole
            return
        for rows, shards in islice(batches(self._fit, epoch), first, None):
            yield self._example(rows, shards)

    @cached_property
    def _whole(self) -> Example:
        """All molecules as one step, the same in each epoch: put together once, and on the device to stay."""
        ((rows, shards),) = batches(self._fit, 0)
        inputs, targets = self._example(rows, shards)
        device = self._group.device
        return inputs.to(device), {name: column.to(device) for name, column in targets.items()}

    def _example(self, rows: np.ndarray, shards: np.ndarray) -> Example:
        mine = rows[shards % self._group.size == self._group.number]
        return _tensors(*self._held.batch(mine))


class StreamedExamples:
    """Steps of two parts: molecules of a stream, each once an epoch, and labelled ones, which come round again.

    Where labelled molecules have no share, there is the stream alone.
    """

    def __init__(self, fit: Fit, part: DataShard, group: ProcessGroup) -> None:
        assert fit.stream is not None
        self._fit, self._stream, self._group, self._held = fit, fit.stream, group, _Held(fit, part)
        self._labelled, self._streamed = stream_sizes(fit)
        self._orders: dict[int, np.ndarray] = {}  # of the labelled molecules, in the rounds of the last step
        self.molecules = len(fit.stream) + steps(fit) * self._labelled

    def of_epoch(self, epoch: int, first: int) -> Iterator[Example]:
        """Yield the steps of an epoch, which goes once through the stream."""
        seed, size = [self._fit.seed, epoch], self._streamed
        for step, found in enumerate(pieces(self._stream, size, seed, first), first):
            parts = []
            if self._labelled:
                parts.append(self._held.batch(self._labelled_rows(epoch * steps(self._fit) + step)))
            for piece in found:
                inputs, columns = piece.loaded
                rows = piece.rows[piece.places % self._group.size == self._group.number]
                parts.append((inputs.batch(rows), {name: columns[name][rows] for name in self._fit.targets}))
            some = [part for part in parts if len(part[1]["labels"])]
            inputs = join_batches([batch for batch, _ in some])
            yield _tensors(inputs, {name: np.concatenate([of[name] for _, of in some]) for name in self._fit.targets})

    def _labelled_rows(self, step: int) -> np.ndarray:
        """Return this worker's labelled molecules of a step, counted over all epochs; each round is shuffled anew."""
        places = np.arange(step * self._labelled, (step + 1) * self._labelled)[self._group.number :: self._group.size]
        rounds, within = np.divmod(places, len(self._fit.train))
        rows = np.empty(len(places), dtype=np.int64)
        numbers = np.unique(rounds).tolist()
        self._orders = {
            number: self._orders[number] if number in self._orders else self._order(number) for number in numbers
        }
        for number, order in self._orders.items():
            rows[rounds == number] = order[within[rounds == number]]
        return rows

    def _order(self, number: int) -> np.ndarray:
        """Return the labelled molecules in their order of a round: with a million of them, that takes 69 ms."""
        return np.random.default_rng([self._fit.seed, number]).permutation(self._fit.train)


def _tensors(inputs: Any, columns: Mapping[str, np.ndarray]) -> Example:
    return inputs, {name: torch.from_numpy(column) for name, column in columns.items()}
