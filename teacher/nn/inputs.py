"""What networks read, in columns: many molecules in a few flat arrays.

Flat arrays travel through Ray's object store without copies, and a batch is gathered by index, however many molecules
there are. `teacher.nn.graphs` has the third kind, for graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch


class Batch(Protocol):
    """What a network reads at a time."""

    def to(self, device: str) -> Self:
        """Return the same batch on a device."""


class Inputs(Protocol):
    """Something to read for each of many molecules; a row is a molecule."""

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> Self:
        """Return the inputs of some rows (R), in their order."""

    def batch(self, rows: np.ndarray) -> Any:
        """Return the `Batch` of some rows (B), in their order."""


@dataclass(frozen=True)
class Matrix:
    """One vector for each molecule.

    Attributes:
        values: float32, shape (molecules, features).
    """

    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.values.shape[1])

    def take(self, rows: np.ndarray) -> Matrix:
        """Return the vectors of some rows."""
        return Matrix(self.values[rows])

    def batch(self, rows: np.ndarray) -> torch.Tensor:
        """Return a tensor of shape (rows, features)."""
        return torch.from_numpy(self.values[rows])


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Texts as tokens, named as transformers names them.

    Attributes:
        input_ids: int64, shape (texts, longest), padded at the end.
        attention_mask: bool of the same shape; False where it is padded.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor

    def to(self, device: str) -> TokenBatch:
        """Return the same batch on a device."""
        return TokenBatch(self.input_ids.to(device), self.attention_mask.to(device))


@dataclass(frozen=True)
class Tokens:
    """One text for each molecule, as token ids one after another.

    Attributes:
        ids: int32, shape (all tokens).
        starts: int64, shape (texts + 1): where each text begins, and where the last one ends.
        padding: the id to pad with.
    """

    ids: np.ndarray
    starts: np.ndarray
    padding: int

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]], padding: int) -> Tokens:
        """Lay out the token ids of texts."""
        ids = np.concatenate([np.asarray(text, dtype=np.int32) for text in texts])
        return cls(ids, starts([len(text) for text in texts]), padding)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: np.ndarray) -> Tokens:
        """Return the texts of some rows."""
        places, lengths = stretches(self.starts, rows)
        return Tokens(self.ids[places], starts(lengths), self.padding)

    def batch(self, rows: np.ndarray) -> TokenBatch:
        """Return the texts of some rows, padded to the longest."""
        places, lengths = stretches(self.starts, rows)
        mask = np.arange(lengths.max(initial=0))[None] < lengths[:, None]
        tokens = np.full(mask.shape, self.padding, dtype=np.int64)
        tokens[mask] = self.ids[places]
        return TokenBatch(torch.from_numpy(tokens), torch.from_numpy(mask))


@dataclass(frozen=True, slots=True)
class StatesBatch:
    """Texts as the states of their tokens.

    Attributes:
        states: float32, shape (tokens, features): those of one text after those of another, without padding.
        mask: bool, shape (texts, longest): True where a text has a token.
    """

    states: torch.Tensor
    mask: torch.Tensor

    def to(self, device: str) -> StatesBatch:
        """Return the same batch on a device."""
        return StatesBatch(self.states.to(device), self.mask.to(device))


@dataclass(frozen=True)
class TokenStates:
    """One text for each molecule, as the states that an encoder gives its tokens, one after another.

    Attributes:
        states: float16, shape (all tokens, features).
        starts: int64, shape (texts + 1): where each text begins, and where the last one ends.
    """

    states: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: np.ndarray) -> TokenStates:
        """Return the texts of some rows."""
        places, lengths = stretches(self.starts, rows)
        return TokenStates(self.states[places], starts(lengths))

    def batch(self, rows: np.ndarray) -> StatesBatch:
        """Return the texts of some rows."""
        places, lengths = stretches(self.starts, rows)
        mask = np.arange(lengths.max(initial=0))[None] < lengths[:, None]
        return StatesBatch(torch.from_numpy(self.states[places].astype(np.float32)), torch.from_numpy(mask))


def starts(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return where stretches of these lengths (n) begin, one after another, and where the last one ends (n + 1)."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def stretches(begins: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of all elements of some stretches, one stretch after another, and the stretches' lengths.

    Args:
        begins: where each stretch begins, and where the last one ends (n + 1).
        rows: which stretches (R).
    """
    lengths = begins[rows + 1] - begins[rows]
    offsets = np.repeat(begins[rows] - starts(lengths)[:-1], lengths)
    return np.arange(lengths.sum()) + offsets, lengths
