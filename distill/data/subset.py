"""Which molecules an LLM should describe where it cannot describe all of them.

The others borrow from those most like them (`distill.features.neighbours`), so none should be without a chosen one
near.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cluster import table_file
from cluster.library.molecules import unique_molecules
from cluster.library.source import NoMoleculeError, Source
from cluster.training.driver import FitProgress
from distill.features.neighbours import fingerprints_of, tanimoto
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.DataStructs import ExplicitBitVect

REFERENCES = 10_000  # molecules that stand for the library
SLACK = 0.05  # of the coverage that trying every molecule at every step would win, what is given away for speed
AT_A_TIME = 1_024


@dataclass(frozen=True, slots=True)
class Pool:
    """The distinct molecules of a library.

    Attributes:
        smiles: canonical, of N molecules.
        fingerprints: theirs.
    """

    smiles: list[str]
    fingerprints: list[ExplicitBitVect]


@dataclass(frozen=True, slots=True)
class Subset:
    """Chosen molecules.

    Attributes:
        rows: of the chosen, int64, the most telling first.
        coverage: Tanimoto similarity of a molecule to the chosen one most like it (1 where it is chosen), on average.
        coverage_at_random: the same where as many are chosen at random.
    """

    rows: NDArray[np.int64]
    coverage: float
    coverage_at_random: float


def read_pool(sources: Sequence[Source], limit: int | None = None, show: Callable[[int], None] | None = None) -> Pool:
    """Read the molecules to choose from, half a kilobyte each; the arguments are those of `unique_molecules`.

    Raises:
        NoMoleculeError: the library holds none.
    """
    molecules = unique_molecules(sources, limit, show)
    pool = Pool([], [])
    while part := list(islice(molecules, AT_A_TIME)):
        pool.smiles.extend(molecule.smiles for molecule in part)
        pool.fingerprints.extend(fingerprints_of([molecule.mol for molecule in part]))
    if not pool.smiles:
        raise NoMoleculeError("The library holds no molecule to choose: name another, or the column with its SMILES.")
    return pool


def choose(pool: Pool, number: int, seed: int, show: Callable[[FitProgress], None] | None = None) -> Subset:
    """Choose molecules such that the others have one of them near.

    Each step tries a few molecules and takes the one that adds most to the coverage (stochastic greedy: Mirzasoleiman
    et al., arXiv 1409.7938); all steps together try about three times as many as there are. The coverage is that of
    `REFERENCES` molecules at most, drawn at random, so the work grows with the library and not with its square.

    Args:
        pool: N molecules.
        number: to choose.
        seed: of the draws.
        show: called after each step.

    Raises:
        UsageError: there are not so many.
    """
    size = len(pool.smiles)
    if number > size:
        raise UsageError(
            f"The library holds {counted(size, 'molecule')}, not {number:,}: ask for fewer, or annotate them all."
        )
    draw = np.random.default_rng(seed)
    left = draw.permutation(size)
    references = [pool.fingerprints[row] for row in left[:REFERENCES]]
    at_random = left[-number:].copy()
    tries = math.ceil(size / number * math.log(1 / SLACK))
    covered = np.zeros(len(references))
    rows = np.empty(number, dtype=np.int64)
    for step in range(number):
        tried = draw.integers(len(left), size=tries)
        reached = [np.maximum(covered, tanimoto(pool.fingerprints[row], references)) for row in left[tried]]
        best = int(np.argmax([cover.sum() for cover in reached]))
        covered = reached[best]
        rows[step] = left[tried[best]]
        left[tried[best]] = left[-1]
        left = left[:-1]
        if show:
            show(FitProgress(step + 1, number))
    return Subset(rows, float(covered.mean()), _coverage([pool.fingerprints[row] for row in at_random], references))


def write(subset: Subset, pool: Pool, out: Path) -> None:
    """Write the SMILES of the chosen as a library of one column.

    Raises:
        OutputError: the file cannot be written.
    """
    import pyarrow as pa

    table = pa.table({"smiles": [pool.smiles[row] for row in subset.rows]})
    table_file.write(iter([table]), table.schema, out)


def _coverage(chosen: Sequence[ExplicitBitVect], references: Sequence[ExplicitBitVect]) -> float:
    """Return how alike references are to the most similar of the chosen, on average."""
    covered = np.zeros(len(references))
    for fingerprint in chosen:
        covered = np.maximum(covered, tanimoto(fingerprint, references))
    return float(covered.mean())
