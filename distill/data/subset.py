"""Which molecules an LLM should describe where it cannot describe all of them.

The others borrow from those most like them (`distill.features.neighbours`), so none should be without a chosen one
near. What else E-LLaGNN chooses by is in `distill.features.library_graph`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cluster.library.kept import KeptColumns
from cluster.library.molecules import ParsedRows, parsed_blocks, unique_molecules
from cluster.library.source import NoMoleculeError, Source
from cluster.library.whole_rows import DAMAGE, read_all_whole, why
from cluster.training.driver import FitProgress
from distill.features.library_graph import NodeChoice, most_telling
from distill.features.neighbours import fingerprints_of, packed, tanimoto
from teacher.chemistry.molecule import key_of
from teacher.chemistry.parsing import Parsed
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa
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
    square.

    Args:
        pool: N molecules.
        number: to choose.
        seed: of the draws.
        show: called after each step.
        by: what makes a molecule telling (`distill.features.library_graph`); the coverage is told of any choice.

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
    if by != "coverage":
        tell = (lambda done: show(FitProgress(done, size))) if show else None
        prints = packed(pool.fingerprints)
        rows = most_telling(by, number, fingerprints=prints, smiles=pool.smiles, seed=seed, show=tell)
        return _covering(pool, rows, at_random, references)
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
    return _covering(pool, rows, at_random, references)


def _covering(
    pool: Pool, rows: NDArray[np.int64], at_random: NDArray[np.int64], references: Sequence[ExplicitBitVect]
) -> Subset:
    chosen, other = ([pool.fingerprints[row] for row in each] for each in (rows, at_random))
    return Subset(rows, _coverage(chosen, references), _coverage(other, references))


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
    same), and `error` (why a row holds no molecule). A column that is called like a kept one is written with a mark.

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
    schema = _schema(without_smiles=kept.holds_smiles)

    def blocks() -> Iterator[tuple[pa.Table, pa.Table]]:
        rows = 0
        for block, parsed in parsed_blocks(read_all_whole(sources, kept, limit)):
            yield block, _ours(block, parsed, sources, ranks, schema)
            rows += block.num_rows
            if show:
                show(rows)

    return kept.write(_ranked(blocks()) if only_chosen else blocks(), schema, out)


def _schema(*, without_smiles: bool) -> pa.Schema:
    import pyarrow as pa

    smiles = [] if without_smiles else [("smiles", pa.string())]
    return pa.schema(
        [("source", pa.string()), ("row", pa.int64()), *smiles, ("chosen", pa.int64()), ("error", pa.string())]
    )


def _ours(
    block: pa.Table, parsed: ParsedRows, sources: Sequence[Source], ranks: Mapping[bytes, int], schema: pa.Schema
) -> pa.Table:
    """Return our columns of rows."""
    import pyarrow as pa

    columns = {
        "source": [sources[number].shown for number in block["source"].to_pylist()],
        "row": block["row"].to_pylist(),
        "smiles": [molecule.smiles if isinstance(molecule, Parsed) else None for molecule in parsed],
        "chosen": [ranks.get(molecule.key) if isinstance(molecule, Parsed) else None for molecule in parsed],
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


def _coverage(chosen: Sequence[ExplicitBitVect], references: Sequence[ExplicitBitVect]) -> float:
    """Return how alike references are to the most similar of the chosen, on average."""
    covered = np.zeros(len(references))
    for fingerprint in chosen:
        covered = np.maximum(covered, tanimoto(fingerprint, references))
    return float(covered.mean())
