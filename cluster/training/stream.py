"""Molecules to learn from that no worker holds at once: they pass by in windows, shuffled inside each.

Every worker of a group goes through the same windows and takes its own part of each step out of them. So a step has
the same molecules however many workers there are, and a worker holds two windows at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from teacher.nn.inputs import Inputs

Loaded = tuple[Inputs, Mapping[str, np.ndarray]]  # what is read, and the targets by name; a row is a molecule


@dataclass(frozen=True, slots=True)
class Window:
    """Molecules that are held together: how many, and what loads them."""

    size: int
    load: Callable[[], Loaded]


class Stream(Protocol):
    """Further molecules to learn from."""

    @property
    def digest(self) -> str:
        """A digest of all that decides what comes."""

    def __len__(self) -> int:
        """Return how many molecules an epoch has."""

    def windows(self, seed: Sequence[int]) -> Iterator[Window]:
        """Yield the windows of an epoch, in an order that the seed decides."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some molecules of a window, for one step: rows of what is loaded, and their places in the step."""

    loaded: Loaded
    rows: np.ndarray
    places: np.ndarray


def steps_of(stream: Stream, size: int) -> int:
    """Return how many steps of so many molecules an epoch has; the last one takes between a half and one and a half."""
    return max(1, (len(stream) + size // 2) // size)


def pieces(stream: Stream, size: int, seed: Sequence[int], first: int) -> Iterator[list[Piece]]:
    """Yield what each step of an epoch takes, out of one window or of several in turn.

    Args:
        stream: the molecules.
        size: of a step.
        seed: of the epoch.
        first: the step to begin with; windows that end before it are not loaded.
    """
    last = steps_of(stream, size) - 1
    found: list[Piece] = []
    step, begin = first, 0
    for number, window in enumerate(stream.windows(seed)):
        end = begin + window.size
        if end <= step * size:
            begin = end
            continue
        loaded, order = window.load(), np.random.default_rng([*seed, number]).permutation(window.size)
        while step <= last:
            stop = len(stream) if step == last else (step + 1) * size
            places = np.arange(max(begin, step * size), min(end, stop))
            if len(places):
                found.append(Piece(loaded, order[places - begin], places - step * size))
            if stop > end:
                break
            yield found
            found, step = [], step + 1
        begin = end
