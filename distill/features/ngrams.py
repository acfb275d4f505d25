"""The text of a SMILES as hashed n-grams of its characters: numbers that cost no parsing.

Runs of 1 to 6 characters, the ends of the text included, are hashed (Weinberger et al., ICML 2009) by a polynomial of
their bytes, all runs of all texts at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 6
BITS = 17
COLUMNS = 1 << BITS
NOTHING = COLUMNS  # the column of what is no run: it would reach beyond the end of its text
FACTOR = np.uint32(0x01000193)
MIXER = np.uint32(0x9E3779B1)


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """N texts in one, each with a mark before and behind it.

    Attributes:
        characters: uint32, (P + 1,).
        firsts: int64, (N,), where each begins: at its mark.
        left: int64, (P,), how many characters there are from each place to the mark behind its text, that included.
    """

    characters: NDArray[np.uint32]
    firsts: NDArray[np.int64]
    left: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Texts:
        """Join texts."""
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + 1
        joined = b"\n" + b"\n".join(texts) + b"\n"
        ends = np.cumsum(lengths)
        places = np.arange(int(ends[-1]) if len(texts) else 0)
        return cls(
            np.frombuffer(joined, dtype=np.uint8).astype(np.uint32),
            ends - lengths,
            np.repeat(ends, lengths) - places + 1,
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many characters each text has, with one of its marks: (N,)."""
        return np.diff(self.firsts, append=len(self.left))

    def columns(self) -> Iterator[NDArray[np.int64]]:
        """Yield the column of the run of 1, 2, ... characters that begins at each place: int64, (P,)."""
        hashed = np.zeros(len(self.left), dtype=np.uint32)
        ahead = np.concatenate([self.characters, np.zeros(LONGEST, dtype=np.uint32)])
        for length in range(1, LONGEST + 1):
            hashed = (hashed ^ ahead[length - 1 : length - 1 + len(hashed)]) * FACTOR
            mixed = (hashed ^ (hashed >> np.uint32(15))) * MIXER
            yield np.where(self.left >= length, mixed >> np.uint32(32 - BITS), NOTHING).astype(np.int64)
