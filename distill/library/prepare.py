"""`gallon prepare`: the rows of a library become shards on disk, in their order, by a pool of Ray tasks.

Blocks of rows are cut where the files are read, so the same library is cut into the same shards every time, and a
shard that is there is not made again. The driver holds no more than a few blocks, and a task one.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.library.rows import read_all
from cluster.library.source import NoMoleculeError, Source
from distill.features.vectors import DescriptorSet
from distill.library import duplicates
from distill.library.manifest import MANIFEST, PLAN, Manifest, Plan, read_plan, shard_name, write_manifest, write_plan
from distill.library.shard import ShardFacts, digest_of_rows, read_facts, write_shard
from distill.library.trial import write_shard_safely
from teacher.errors import UsageError
from teacher.files import check_folder
from teacher.provenance import digest
from teacher.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa
    from ray import ObjectRef

    from cluster.runtime.session import RaySession

logger = logging.getLogger(__name__)

BLOCKS_AHEAD = 2  # for each worker: one that is described, and one that waits
MOST_REASONS = 50  # that the manifest tells apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What came of a preparation.

    Attributes:
        manifest: of the library.
        path: its folder.
        new_shards: that were made by this call; the others were there.
        seconds: it took.
    """

    manifest: Manifest
    path: Path
    new_shards: int
    seconds: float


def check_place(folder: Path, plan: Plan, *, overwrite: bool) -> None:
    """Check that a library can be prepared in a folder: one that is new, empty, or holds shards of the same plan.

    Raises:
        UsageError: something else is there, or nothing can be written there.
    """
    check_folder(folder)
    if overwrite or not folder.is_dir() or not any(folder.iterdir()):
        return
    there = read_plan(folder)
    if there is None:
        raise UsageError(f"{folder} holds files and no prepared library: choose another folder.")
    if there != plan:
        differ = ", ".join(_differences(there, plan))
        raise UsageError(
            f"{folder} holds a library that was prepared otherwise ({differ}): choose another folder, or replace it "
            "with --overwrite."
        )


def prepare(
    sources: Sequence[Source],
    folder: Path,
    *,
    descriptors: DescriptorSet,
    limit: int | None,
    session: RaySession,
    overwrite: bool = False,
    show: Callable[[int], None] | None = None,
) -> Prepared:
    """Describe all molecules of a library once, and keep them as shards; the same call goes on where it was stopped.

    Args:
        sources: the files of the library.
        folder: of the shards; machines of the cluster must reach it by the same path.
        descriptors: that stand beside the counts.
        limit: take only so many rows.
        session: the Ray cluster to run on.
        overwrite: whether shards of other files may be replaced.
        show: called with the number of rows that are done.

    Raises:
        UsageError: the folder holds something else.
        LibraryError: a file cannot be read.
        NoMoleculeError: no row holds a molecule.
        OutputError: the disk is full.
    """
    plan = plan_of(sources, descriptors, limit)
    check_place(folder, plan, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    (folder / MANIFEST).unlink(missing_ok=True)
    if read_plan(folder) != plan:
        _remove_shards(folder, 0)
        write_plan(plan, folder)
    logger.info("a library is prepared in %s: %s", folder, plan)
    begun = time.monotonic()
    facts: dict[int, ShardFacts] = {}
    new, rows = 0, 0
    for number, made, is_new in _shards(read_all(sources, limit), folder, descriptors, session):
        facts[number] = made
        new += is_new
        rows += made.rows
        if show:
            show(rows)
    manifest = finish([facts[number] for number in range(len(facts))], plan, sources, folder)
    return Prepared(manifest=manifest, path=folder, new_shards=new, seconds=time.monotonic() - begun)


def plan_of(sources: Sequence[Source], descriptors: DescriptorSet, limit: int | None) -> Plan:
    """Return what decides the shards of a library."""
    return Plan(sources=tuple(source.shown for source in sources), descriptors=descriptors, limit=limit)


def _shards(
    blocks: Iterator[pa.Table], folder: Path, descriptors: DescriptorSet, session: RaySession
) -> Iterator[tuple[int, ShardFacts, bool]]:
    """Yield the number of each shard, what is known of it, and whether it is new, as they are done."""
    import ray

    task = ray.remote(num_cpus=1, max_retries=0)(write_shard)
    again = ray.remote(num_cpus=1, max_retries=3)(write_shard_safely)
    most = BLOCKS_AHEAD * max(1, int(session.cpus))
    running: dict[ObjectRef, tuple[int, pa.Table | None]] = {}  # a block that may be tried again, more carefully

    def done(wanted: int) -> Iterator[tuple[int, ShardFacts, bool]]:
        while len(running) > wanted:
            (ready,), _ = ray.wait(list(running), num_returns=1)
            number, block = running.pop(ready)
            try:
                facts = _result(ready)
            except ray.exceptions.RayError as error:
                if block is None:
                    raise
                logger.warning("the worker of shard %d died, which is tried again row by row: %s", number, error)
                running[again.remote(block, descriptors, folder / shard_name(number))] = number, None
                continue
            yield number, facts, True

    for number, block in enumerate(blocks):
        file = folder / shard_name(number)
        there = read_facts(file)
        if there is not None and there.digest == digest_of_rows(block):
            yield number, there, False
            continue
        running[task.remote(block, descriptors, file)] = number, block
        yield from done(most)
    yield from done(0)


def _result(ready: ObjectRef) -> ShardFacts:
    import ray

    try:
        facts: ShardFacts = ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error  # one of ours reaches the user as it is
    return facts


def finish(facts: Sequence[ShardFacts], plan: Plan, sources: Sequence[Source], folder: Path) -> Manifest:
    """Find the duplicates, and write the manifest, whose presence says that the library is complete."""
    rows, valid = sum(each.rows for each in facts), sum(each.molecules for each in facts)
    if not valid:
        raise NoMoleculeError.of(sources, rows, "name another file, or the column with the SMILES")
    _remove_shards(folder, len(facts))
    files = [folder / shard_name(number) for number in range(len(facts))]
    repeated = duplicates.write(files, folder, valid)
    reasons = sum((Counter(each.reasons) for each in facts), Counter[str]()).most_common()
    named, others = dict(reasons[:MOST_REASONS]), sum(number for _, number in reasons[MOST_REASONS:])
    manifest = Manifest(
        plan=plan,
        digest=digest([plan.features, plan.descriptors, [each.digest for each in facts]]),
        shards=tuple(each.rows for each in facts),
        rows=rows,
        molecules=valid - repeated,
        duplicates=repeated,
        invalid=rows - valid,
        reasons={**named, **({"others": others} if others else {})},
        bytes=sum(file.stat().st_size for file in files),
    )
    write_manifest(manifest, folder)
    logger.info("the library in %s is complete: %s", folder, counted(manifest.molecules, "molecule"))
    return manifest


def _remove_shards(folder: Path, first: int) -> None:
    """Remove the shards from some number on, and what a killed task has left behind."""
    kept = {shard_name(number) for number in range(first)}
    for file in [*folder.glob("shard-*.arrow"), *folder.glob(".gallon-*.arrow")]:
        if file.name not in kept:
            file.unlink(missing_ok=True)
    (folder / duplicates.FILE).unlink(missing_ok=True)
    if not first:
        (folder / PLAN).unlink(missing_ok=True)


def _differences(there: Plan, wanted: Plan) -> list[str]:
    ours: dict[str, Any] = asdict(wanted)
    return [name for name, value in asdict(there).items() if value != ours[name]]
