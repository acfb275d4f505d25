"""Which molecules an LLM should describe, or a laboratory measure, where neither can do all of them.

The others borrow from those most like them (`distill.features.neighbours`), so none should be without a chosen one
near. What else E-LLaGNN chooses by is in `distill.features.library_graph`. Where a student says how unsure it is of
each molecule, those that it is unsure of count for more, and what is near a labelled one is covered already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cluster.library.kept import KeptColumns
from cluster.library.molecules import ParsedRows, parsed_blocks, unique_molecules
from cluster.library.source import NoMoleculeError, Source
from cluster.library.whole_rows import DAMAGE, read_all_whole, why
from cluster.training.driver import FitProgress
from distill.features.library_graph import NodeChoice, most_telling
from distill.features.neighbours import Neighbours, fingerprints_of, packed
from teacher.chemistry.molecule import key_of
from teacher.chemistry.parsing import Parsed
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from rdkit.Chem import Mol
    from rdkit.DataStructs import ExplicitBitVect

REFERENCES = 10_000  # molecules that stand for the library
SLACK = 0.05  # of the coverage that trying every molecule at every step would win, what is given away for speed
AT_A_TIME = 1_024


class Unsure(Protocol):
    """Who says how unsure it is of molecules.

    Attributes:
        labelled: canonical SMILES of the molecules that it has learned from.
    """

    labelled: frozenset[str]

    def of(self, mols: Sequence[Mol]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return how unsure it is of N molecules, (N, targets), and how similar each is to a labelled one, (N,)."""

    def relative(self, unsure: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the same with one number for each molecule, (N,), whose mean is 1."""


@dataclass(frozen=True, slots=True)
class Doubts:
    """What a student says of the N molecules of a pool.

    Attributes:
        weights: (N,), how unsure it is of each, 1 on average: how much it counts that one is near a chosen one.
        covered: (N,), the similarity of each to the nearest labelled molecule.
        labelled: (N,), whether it is one.
    """

    weights: NDArray[np.float64]
    covered: NDArray[np.float64]
    labelled: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pool:
    """The distinct molecules of a library.

    Attributes:
        smiles: canonical, of N molecules.
        fingerprints: theirs.
        doubts: what a student says of them, if one is asked.
    """

    smiles: list[str]
    fingerprints: list[ExplicitBitVect]
    doubts: Doubts | None = None


@dataclass(frozen=True, slots=True)
class Subset:
    """Chosen molecules.

    Attributes:
        rows: of the chosen, int64, the most telling first.
        coverage: Tanimoto similarity of a molecule to the chosen one most like it (1 where it is chosen), on average;
            where a student is asked, to the chosen or labelled one most like it, weighted by how unsure it is.
        coverage_at_random: the same where as many are chosen at random.
    """

    rows: NDArray[np.int64]
    coverage: float
    coverage_at_random: float


def read_pool(
    sources: Sequence[Source],
    limit: int | None = None,
    show: Callable[[int], None] | None = None,
    unsure: Unsure | None = None,
) -> Pool:
    """Read the molecules to choose from, half a kilobyte each, and ask a student about them, if there is one.

    The other arguments are those of `unique_molecules`.

    Raises:
        NoMoleculeError: the library holds none.
    """
    molecules = unique_molecules(sources, limit, show)
    smiles: list[str] = []
    fingerprints: list[ExplicitBitVect] = []
    said: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    while part := list(islice(molecules, AT_A_TIME)):
        mols = [molecule.mol for molecule in part]
        smiles.extend(molecule.smiles for molecule in part)
        fingerprints.extend(fingerprints_of(mols))
        said += [unsure.of(mols)] if unsure else []
    if not smiles:
        raise NoMoleculeError("The library holds no molecule to choose: name another, or the column with its SMILES.")
    if unsure is None:
        return Pool(smiles, fingerprints)
    values, covered = (np.concatenate(parts) for parts in zip(*said, strict=True))
    labelled = np.array([text in unsure.labelled for text in smiles])
    return Pool(smiles, fingerprints, Doubts(unsure.relative(values), covered, labelled))


def choose(
    pool: Pool,
    number: int,
    seed: int,
    show: Callable[[FitProgress], None] | None = None,
    *,
    by: NodeChoice = "coverage",
) -> Subset:
    """Choose molecules such that the others have one of them near, or those that are telling in another way.

    By "coverage" each step tries a few molecules and takes the one that adds most to the coverage (stochastic greedy:
    Mirzasoleiman et al., arXiv 1409.7938); all steps together try about three times as many as there are. The coverage
    is that of `REFERENCES` molecules at most, drawn at random, so the work grows with the library and not with its
    square. What a student is unsure of counts for more, and labelled molecules have covered what is near them (Wei et
    al., ICML 2015, weigh so for active learning); they are not chosen.

    Args:
        pool: N molecules.
        number: to choose.
        seed: of the draws.
        show: called after each step.
        by: what makes a molecule telling (`distill.features.library_graph`); the coverage is told of any choice.

    Raises:
        UsageError: there are not so many.
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(pool.smiles))
    left = order[~pool.doubts.labelled[order]] if pool.doubts else order.copy()
    if number > len(left):
        known = f"{counted(len(left), 'molecule')}{' that the student has no label of' if pool.doubts else ''}"
        raise UsageError(f"The library holds {known}, not {number:,}: ask for fewer, or take them all.")
    goal = Coverage.of(pool, order[:REFERENCES])
    at_random = left[-number:].copy()
    if by == "coverage":
        rows = _most_covering(pool, goal, number, left, draw=draw, show=show)
    else:
        tell = (lambda done: show(FitProgress(done, len(order)))) if show else None
        prints = packed(pool.fingerprints)
        rows = most_telling(by, number, fingerprints=prints, smiles=pool.smiles, seed=seed, show=tell)
    return Subset(rows, *(goal.reached([pool.fingerprints[row] for row in each]) for each in (rows, at_random)))


@dataclass(frozen=True, slots=True)
class Coverage:
    """How near the molecules of a pool are to some of them, as a sample of them tells.

    Attributes:
        references: the sample.
        weights: of each of them, 1 on average.
        covered: how near each is to a molecule that is labelled already.
    """

    references: Neighbours
    weights: NDArray[np.float64]
    covered: NDArray[np.float64]

    @classmethod
    def of(cls, pool: Pool, rows: NDArray[np.int64]) -> Coverage:
        """Return the coverage of a pool, of which these rows are a sample."""
        references = Neighbours.of(packed([pool.fingerprints[row] for row in rows]))
        if pool.doubts is None:
            return cls(references, np.ones(len(rows)), np.zeros(len(rows)))
        weights = pool.doubts.weights[rows]
        return cls(references, weights / weights.mean(), pool.doubts.covered[rows])

    def reached(self, chosen: Sequence[ExplicitBitVect]) -> float:
        """Return how near the molecules are to chosen or labelled ones, on average."""
        covered = self.covered
        for fingerprint in chosen:
            covered = self.covered_with(fingerprint, covered)
        return float((self.weights * covered).mean())

    def covered_with(self, fingerprint: ExplicitBitVect, covered: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how near the molecules are to one more, or to those that have covered them so."""
        return np.maximum(covered, self.references.similarity(packed([fingerprint])[0]))


def _most_covering(
    pool: Pool,
    goal: Coverage,
    number: int,
    left: NDArray[np.int64],
    *,
    draw: np.random.Generator,
    show: Callable[[FitProgress], None] | None,
) -> NDArray[np.int64]:
    """Return the rows that are chosen out of those that are left, by stochastic greedy."""
    tries = math.ceil(len(left) / number * math.log(1 / SLACK))
    covered, rows = goal.covered, np.empty(number, dtype=np.int64)
    for step in range(number):
        best, covered = _best_of(draw.integers(len(left), size=tries), pool, goal, left, covered)
        rows[step] = left[best]
        left[best] = left[-1]
        left = left[:-1]
        if show:
            show(FitProgress(step + 1, number))
    return rows


def _best_of(
    tried: NDArray[np.int64], pool: Pool, goal: Coverage, left: NDArray[np.int64], covered: NDArray[np.float64]
) -> tuple[int, NDArray[np.float64]]:
    """Return which of the tried places among those that are left covers most, the first of equal ones, and its cover.

    To choose a few out of a million, millions are tried in a step: only the best cover is kept of them.
    """
    best, most, cover = -1, -math.inf, covered
    for place in tried:
        reached = goal.covered_with(pool.fingerprints[left[place]], covered)
        total = float(goal.weights @ reached)
        if best < 0 or total > most:
            best, most, cover = int(place), total, reached
    return best, cover


def write(
    subset: Subset,
    pool: Pool,
    sources: Sequence[Source],
    kept: KeptColumns,
    out: Path,
    *,
    limit: int | None = None,
    only_chosen: bool = False,
    show: Callable[[int], None] | None = None,
) -> int:
    """Write the rows of a library, in order, with the rank of each chosen molecule, and return how many there are.

    Columns: those that are kept, `source` and `row`, `smiles` (canonical; left out where each row's own SMILES is
    kept), `chosen` (1 for the most telling molecule, empty for one that is not chosen; rows of one molecule have the
    same), `uncertainty` where a student was asked (1 is the mean of the library), and `error` (why a row holds no
    molecule). A column that is called like a kept one is written with a mark.

    Args:
        subset: of the pool.
        pool: the library's molecules.
        sources: the files of the library.
        kept: the columns of the library's files that are written.
        out: a file of one of the kinds `cluster.table_file.BESIDE_ROWS`; it is replaced if it is there.
        limit: how many rows of the library are read.
        only_chosen: write the first row of each chosen molecule only, the most telling first.
        show: called with the number of rows that are read.

    Raises:
        LibraryError: a file cannot be read.
        OutputError: the file cannot be written.
    """
    ranks = {key_of(pool.smiles[row]): rank for rank, row in enumerate(subset.rows, start=1)}
    weights = pool.doubts.weights.tolist() if pool.doubts else []
    unsure = {key_of(smiles): weight for smiles, weight in zip(pool.smiles, weights, strict=False)}
    schema = _schema(without_smiles=kept.holds_smiles, unsure=bool(unsure))

    def blocks() -> Iterator[tuple[pa.Table, pa.Table]]:
        rows = 0
        for block, parsed in parsed_blocks(read_all_whole(sources, kept, limit)):
            yield block, _ours(block, parsed, sources, schema, ranks=ranks, unsure=unsure)
            rows += block.num_rows
            if show:
                show(rows)

    return kept.write(_ranked(blocks()) if only_chosen else blocks(), schema, out)


def _schema(*, without_smiles: bool, unsure: bool) -> pa.Schema:
    import pyarrow as pa

    smiles = [] if without_smiles else [("smiles", pa.string())]
    told = [("chosen", pa.int64()), *([("uncertainty", pa.float32())] if unsure else []), ("error", pa.string())]
    return pa.schema([("source", pa.string()), ("row", pa.int64()), *smiles, *told])


def _ours(
    block: pa.Table,
    parsed: ParsedRows,
    sources: Sequence[Source],
    schema: pa.Schema,
    *,
    ranks: Mapping[bytes, int],
    unsure: Mapping[bytes, float],
) -> pa.Table:
    """Return our columns of rows."""
    import pyarrow as pa

    columns = {
        "source": [sources[number].shown for number in block["source"].to_pylist()],
        "row": block["row"].to_pylist(),
        "smiles": [molecule.smiles if isinstance(molecule, Parsed) else None for molecule in parsed],
        "chosen": [ranks.get(molecule.key) if isinstance(molecule, Parsed) else None for molecule in parsed],
        "uncertainty": [unsure.get(molecule.key) if isinstance(molecule, Parsed) else None for molecule in parsed],
        "error": [
            why(damage, None if isinstance(molecule, Parsed) else str(molecule))
            for damage, molecule in zip(block[DAMAGE].to_pylist(), parsed, strict=True)
        ],
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _ranked(blocks: Iterator[tuple[pa.Table, pa.Table]]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield the first row of each chosen molecule, the most telling first; they are held in memory."""
    import pyarrow as pa

    found: dict[int, tuple[pa.Table, pa.Table]] = {}
    for block, ours in blocks:
        for place, rank in enumerate(ours["chosen"].to_pylist()):
            if rank is not None and rank not in found:
                found[rank] = block.take([place]), ours.take([place])
    theirs, chosen = zip(*(found[rank] for rank in sorted(found)), strict=True)
    yield pa.concat_tables(theirs), pa.concat_tables(chosen)
