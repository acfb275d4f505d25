"""Recount a library against the store: is there, for every molecule, an accepted record or a dead letter?"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING

from cluster.library.rows import read_all
from cluster.library.source import Source
from cluster.store.store import Store
from teacher.chemistry.molecule import KEY_BYTES, record_key
from teacher.chemistry.parsing import Parsed, SafeParser

if TYPE_CHECKING:
    import pyarrow as pa

KEYS_PER_CALL = 10_000
BLOCKS_AHEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletenessReport:
    """What a recount found; `missing` molecules have neither a record nor a dead letter."""

    rows: int
    molecules: int
    duplicates: int
    invalid: int
    accepted: int
    dead: int
    missing: int

    @property
    def ok(self) -> bool:
        """Whether nothing is missing."""
        return self.missing == 0


def verify(sources: Sequence[Source], *, limit: int | None, spec_id: str, store: Store | None) -> CompletenessReport:
    """Parse the whole library anew, trusting nothing that a run wrote, and look up every molecule.

    Memory grows by 16 bytes a row. Without a store, as before the first run, every molecule is missing.

    Raises:
        LibraryError: a file cannot be read.
        StoreError: Redis failed.
    """
    import numpy as np

    rows = 0
    keys = bytearray()
    for block_rows, block_keys in _parsed_blocks(sources, limit):
        rows += block_rows
        keys += block_keys
    unique = np.unique(np.frombuffer(keys, dtype=[("high", ">u8"), ("low", ">u8")])).tobytes()
    states = _states(unique, spec_id, store) if store else Counter()
    molecules = len(unique) // KEY_BYTES
    valid = len(keys) // KEY_BYTES
    return CompletenessReport(
        rows=rows,
        molecules=molecules,
        duplicates=valid - molecules,
        invalid=rows - valid,
        accepted=states["accepted"],
        dead=states["dead"],
        missing=molecules - states["accepted"] - states["dead"],
    )


def _states(keys: bytes, spec_id: str, store: Store) -> Counter[str]:
    """Count how many of the joined keys are in each state."""
    states: Counter[str] = Counter()
    step = KEY_BYTES * KEYS_PER_CALL
    for start in range(0, len(keys), step):
        part = keys[start : start + step]
        states.update(store.state_of(spec_id, [part[i : i + KEY_BYTES] for i in range(0, len(part), KEY_BYTES)]))
    return states


def _parsed_blocks(sources: Sequence[Source], limit: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield the number of rows and the joined keys of each block, parsed on all cores, a few blocks ahead."""
    blocks = read_all(sources, limit)
    cores = os.cpu_count() or 1
    idle: SimpleQueue[SafeParser] = SimpleQueue()
    with ExitStack() as parsers, ThreadPoolExecutor(cores) as threads:  # which wait for parsers, each a process
        for _ in range(cores):
            idle.put(parsers.enter_context(closing(SafeParser())))
        ahead: list[Future[tuple[int, bytes]]] = [
            threads.submit(_keys, block, idle) for block in islice(blocks, BLOCKS_AHEAD * cores)
        ]
        while ahead:
            yield ahead.pop(0).result()
            ahead += [threads.submit(_keys, block, idle) for block in islice(blocks, 1)]


def _keys(block: pa.Table, idle: SimpleQueue[SafeParser]) -> tuple[int, bytes]:
    parser, rows = idle.get(), block.to_pylist()
    try:
        found = parser.parse([(row["raw"], row["notation"]) for row in rows])
    finally:
        idle.put(parser)
    keys = (
        record_key(molecule.key, row.get("columns", ""))
        for row, molecule in zip(rows, found, strict=True)
        if isinstance(molecule, Parsed)
    )
    return block.num_rows, b"".join(keys)
