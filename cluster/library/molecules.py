"""The distinct molecules of a library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cluster.library.rows import read_all
from cluster.library.source import Source
from teacher.chemistry.molecule import InvalidMoleculeError, Molecule
from teacher.chemistry.parsing import parse_safely


def unique_molecules(
    sources: Sequence[Source], limit: int | None = None, show: Callable[[int], None] | None = None
) -> Iterator[Molecule]:
    """Yield the molecules of a library in their order, each once; rows that hold none are passed over.

    Who annotates or screens the library is told of such rows one by one.

    Args:
        sources: the files of the library, as `cluster.library.source.resolve` found them.
        limit: read only so many rows.
        show: called with the number of rows that are read.
    """
    seen, rows = set(), 0
    for block in read_all(sources, limit):
        for row in block.to_pylist():
            try:
                molecule = parse_safely(row["raw"], row["notation"])
            except InvalidMoleculeError:
                continue
            if molecule.key not in seen:
                seen.add(molecule.key)
                yield molecule
        rows += block.num_rows
        if show:
            show(rows)
