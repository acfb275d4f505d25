"""A describer of shards' rows that dies over ethanol: as a task, and as the process that is tried."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from distill.features.vectors import DescriptorSet
from distill.library import shard, trial

if TYPE_CHECKING:
    import pyarrow as pa

    from teacher.chemistry.bounds import Notation

add = shard.Describer.add


def write_or_die(rows: pa.Table, descriptors: DescriptorSet, file: Path) -> shard.ShardFacts:
    """Write a shard as `write_shard`, unless it has ethanol."""
    if b"CCO" in rows["raw"].to_pylist():
        os.kill(os.getpid(), signal.SIGSEGV)
    return shard.write_shard(rows, descriptors, file)


def write_safely(rows: pa.Table, descriptors: DescriptorSet, file: Path) -> shard.ShardFacts:
    """Write a shard as `write_shard_safely`, by this module's process."""
    return trial.write_shard_safely(rows, descriptors, file, __name__)


def add_or_die(self: shard.Describer, raw: bytes, notation: Notation, refused: str | None = None) -> None:
    if raw == b"CCO":
        os.kill(os.getpid(), signal.SIGSEGV)
    add(self, raw, notation, refused)


if __name__ == "__main__":
    shard.Describer.add = add_or_die  # type: ignore[method-assign]
    trial.main()
