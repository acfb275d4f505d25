"""The molecules of a library: of every row, and the distinct ones, with the cells that prompts show."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING

from cluster.library.rows import read_all
from cluster.library.source import Source
from teacher.chemistry.molecule import InvalidMoleculeError, Molecule, record_key
from teacher.chemistry.parsing import Parsed, SafeParser, parse_safely

if TYPE_CHECKING:
    import pyarrow as pa

BLOCKS_AHEAD = 4  # for each core

ParsedRows = list[Parsed | InvalidMoleculeError]


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
    sources: Sequence[Source],
    limit: int | None = None,
    show: Callable[[int], None] | None = None,
    show_invalid: Callable[[int], None] | None = None,
) -> Iterator[Molecule]:
    """Yield the molecules of a library in their order, each once; rows that hold none are passed over.

    Of sources with columns each molecule comes once with each combination of cells, see `unique_entries`.

    Who annotates or screens the library is told of such rows one by one.

    Args:
        sources: the files of the library, as `cluster.library.source.resolve` found them.
        limit: read only so many rows.
        show: called with the number of rows that are read.
        show_invalid: called with the number of those that hold none.
    """
    return (entry.molecule for entry in unique_entries(sources, limit, show, show_invalid))


def unique_entries(
    sources: Sequence[Source],
    limit: int | None = None,
    show: Callable[[int], None] | None = None,
    show_invalid: Callable[[int], None] | None = None,
) -> Iterator[Entry]:
    """Yield what has a record of its own, each once, in the library's order; the arguments are those above."""
    seen, rows, invalid = set(), 0, 0
    for block in read_all(sources, limit):
        for row in block.to_pylist():
            try:
                molecule = parse_safely(row["raw"], row["notation"])
            except InvalidMoleculeError:
                invalid += 1
                continue
            columns = row.get("columns", "")
            key = record_key(molecule.key, columns)
            if key not in seen:
                seen.add(key)
                yield Entry(molecule, columns, key)
        rows += block.num_rows
        if show:
            show(rows)
        if show_invalid:
            show_invalid(invalid)


def parsed_blocks(blocks: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, ParsedRows]]:
    """Yield blocks of rows in order, each with what its rows parse to, on all cores and a few blocks ahead.

    Args:
        blocks: as `cluster.library.rows.read` yields them.
    """
    left = iter(blocks)
    cores = os.cpu_count() or 1
    idle: SimpleQueue[SafeParser] = SimpleQueue()
    with ExitStack() as parsers, ThreadPoolExecutor(cores) as threads:  # which wait for parsers, each a process
        for _ in range(cores):
            idle.put(parsers.enter_context(closing(SafeParser())))
        ahead: list[tuple[pa.Table, Future[ParsedRows]]] = [
            (block, threads.submit(_parse, block, idle)) for block in islice(left, BLOCKS_AHEAD * cores)
        ]
        while ahead:
            block, parsed = ahead.pop(0)
            yield block, parsed.result()
            ahead += [(block, threads.submit(_parse, block, idle)) for block in islice(left, 1)]


def keys_of(block: pa.Table, parsed: ParsedRows) -> list[bytes | None]:
    """Return the key of each row's record; None of a row that holds no molecule."""
    columns = block["columns"].to_pylist() if "columns" in block.column_names else [""] * len(parsed)
    return [
        record_key(molecule.key, cells) if isinstance(molecule, Parsed) else None
        for molecule, cells in zip(parsed, columns, strict=True)
    ]


def _parse(block: pa.Table, idle: SimpleQueue[SafeParser]) -> ParsedRows:
    parser = idle.get()
    try:
        return parser.parse(list(zip(block["raw"].to_pylist(), block["notation"].to_pylist(), strict=True)))
    finally:
        idle.put(parser)
