"""The distinct molecules of a library, and its distinct entries: molecules with the cells that prompts show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cluster.library.rows import read_all
from cluster.library.source import Source
from teacher.chemistry.molecule import InvalidMoleculeError, Molecule, record_key
from teacher.chemistry.parsing import parse_safely


@dataclass(frozen=True, slots=True)
class Entry:
    """A molecule of a library.

    Attributes:
        molecule: what stands in the row.
        columns: the cells of the row that prompts show, packed; empty without any.
        key: of its record (16 bytes), the molecule's own where no cells are shown.
    """

    molecule: Molecule
    columns: str
    key: bytes


def unique_molecules(
    sources: Sequence[Source], limit: int | None = None, show: Callable[[int], None] | None = None
) -> Iterator[Molecule]:
    """Yield the molecules of a library in their order, each once; rows that hold none are passed over.

    Of sources with columns each molecule comes once with each combination of cells, see `unique_entries`.

    Who annotates or screens the library is told of such rows one by one.

    Args:
        sources: the files of the library, as `cluster.library.source.resolve` found them.
        limit: read only so many rows.
        show: called with the number of rows that are read.
    """
    return (entry.molecule for entry in unique_entries(sources, limit, show))


def unique_entries(
    sources: Sequence[Source], limit: int | None = None, show: Callable[[int], None] | None = None
) -> Iterator[Entry]:
    """Yield what has a record of its own, each once, in the library's order; the arguments are those above."""
    seen, rows = set(), 0
    for block in read_all(sources, limit):
        for row in block.to_pylist():
            try:
                molecule = parse_safely(row["raw"], row["notation"])
            except InvalidMoleculeError:
                continue
            columns = row.get("columns", "")
            key = record_key(molecule.key, columns)
            if key not in seen:
                seen.add(key)
                yield Entry(molecule, columns, key)
        rows += block.num_rows
        if show:
            show(rows)
