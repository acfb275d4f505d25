"""Prepared libraries, made in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster.library.rows import read_all
from cluster.library.source import resolve
from distill.features.vectors import DescriptorSet
from distill.library.manifest import shard_name
from distill.library.prepare import finish, plan_of
from distill.library.prepared import PreparedLibrary
from distill.library.shard import write_shard


def shard_of_rows(folder: Path, rows: Sequence[str], descriptors: DescriptorSet = "lean", number: int = 0) -> Path:
    """Write rows as a shard, and return its file."""
    (folder / "rows.smi").write_text("\n".join(rows) + "\n")
    (block,) = read_all(resolve([str(folder / "rows.smi")]))
    write_shard(block, descriptors, folder / shard_name(number))
    return folder / shard_name(number)


def library_of(folder: Path, shards: Sequence[Sequence[str]]) -> PreparedLibrary:
    """Prepare a library of these shards."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = []
    for number, rows in enumerate(shards):
        (folder / "rows.smi").write_text("\n".join(rows) + "\n")
        (block,) = read_all(resolve([str(folder / "rows.smi")]))
        facts.append(write_shard(block, "lean", folder / shard_name(number)))
    sources = resolve([str(folder / "rows.smi")])
    finish(facts, plan_of(sources, "lean", None), sources, folder)
    return PreparedLibrary.open(folder)
