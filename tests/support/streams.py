"""A stream of molecules that lie in memory, in windows of a few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cluster.training.stream import Loaded, Window
from teacher.nn.inputs import Inputs


@dataclass(frozen=True, eq=False)
class MemoryStream:
    """Windows of so many molecules, in an order that the seed decides; the last one may have fewer."""

    inputs: Inputs
    columns: Mapping[str, np.ndarray]
    window: int
    digest: str = "memory"

    def __len__(self) -> int:
        return len(self.inputs)

    def windows(self, seed: Sequence[int]) -> Iterator[Window]:
        firsts = np.random.default_rng(seed).permutation(np.arange(0, len(self), self.window))
        for first in firsts.tolist():
            rows = np.arange(first, min(first + self.window, len(self)))
            yield Window(len(rows), partial(self._load, rows))

    def _load(self, rows: np.ndarray) -> Loaded:
        return self.inputs.take(rows), {name: column[rows] for name, column in self.columns.items()}
