"""The annotation run: library rows stream through Ray Data to a pool of `Annotator` actors and end in Redis."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cluster.annotation.batches import cut
from cluster.annotation.draw import drawn
from cluster.annotation.job import REQUEST_SECONDS, START_WAITS, EngineFactory, Job
from cluster.annotation.metrics import publish
from cluster.annotation.plan import plan_in_worker
from cluster.annotation.pool import AnnotatorPool, Pool
from cluster.annotation.spare_cpus import SpareCpus
from cluster.library.rows import block_sizes
from cluster.library.source import NoMoleculeError, Source
from cluster.runs.limits import LimitMonitor, RunLimits, enforce_limits
from cluster.runs.progress import Progress, ProgressMeter, RowCounter, watched
from cluster.runs.run import Run, mark_lost_runs
from cluster.runtime.errors import first_of_ours
from cluster.runtime.logs import worker_level
from cluster.store.connection import StoreGoneError
from cluster.store.record import Ledger
from cluster.store.store import Store
from teacher.errors import UsageError
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from teacher.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data
    from ray import ObjectRef

    from cluster.runtime.session import RaySession

logger = logging.getLogger(__name__)

NO_LIMITS = RunLimits(max_error_rate=1.0, stall_minutes=float("inf"))
COUNT_AFTER_SECONDS = 20.0  # a run that has ended by then needs no estimate, which takes reading the library once more
WAIT_SECONDS = 5.0  # at least, between looks at what another run has left to do
WAITS_PER_LOOK = 10  # as long as a look took: each has Redis go through all molecules of the run
PLANNED_BYTES = 2**28  # of planned rows that wait for annotators: some millions


def _ignore(sentence: str) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run came to: its id, the ledger of its rows, and whether it was stopped before its end."""

    run: str
    ledger: Ledger
    interrupted: bool = False


def annotate(
    sources: Sequence[Source],
    *,
    limit: int | None,
    sample: pa.Table | None = None,
    spec: Spec,
    prompt: Prompt,
    store: Store,
    session: RaySession,
    engine: EngineFactory,
    pool: Pool,
    max_attempts: int = 3,
    request_seconds: float = REQUEST_SECONDS,
    start_waits: tuple[float, ...] = START_WAITS,
    limits: RunLimits = NO_LIMITS,
    warn: Callable[[str], None] = _ignore,
    show: Callable[[Progress], None] | None = None,
) -> Result:
    """Annotate every molecule of a library once and return the ledger of its rows.

    Molecules that the store has accepted for this spec, or that are dead, are left as they are; those that another
    run holds are waited for, and taken over if it ends without them. An interrupt (Ctrl-C) ends the run in good
    order; whatever ends it, the same call resumes where it stopped. To be called in the main thread.

    Args:
        sources: the files of the library.
        limit: read only so many rows, over the files in order.
        sample: annotate only these rows of the files, as `cluster.library.rows.read` yields them.
        spec: what decides the annotations.
        prompt: the prompt that the spec refers to.
        store: where they go; its URL must be reachable for every node of the cluster.
        session: the Ray cluster to run on.
        engine: starts an engine inside an annotator.
        pool: how many annotators there are and what each takes.
        max_attempts: how many answers about a molecule may be refused before it is a dead letter.
        request_seconds: how long an engine may take over one request.
        start_waits: seconds before each further try to start an engine that failed to.
        limits: when the run stops by itself.
        warn: called with a sentence when an annotator is lost, or left out.
        show: called about once a second with the progress.

    Raises:
        UsageError: this is not the main thread.
        GallonError: what ended the run, in one sentence.
    """
    refuse_other_threads()
    store.check_policy()
    store.save_spec(spec, prompt)
    mark_lost_runs(store)
    paths = tuple(source.shown for source in sources)
    run = Run(store, spec, paths, limit, started=time.time())
    job = Job(
        run=run.id,
        store_url=store.url,
        spec=spec,
        prompt=prompt,
        sources=paths,
        max_attempts=max_attempts,
        engine=engine,
        request_seconds=request_seconds,
        start_waits=start_waits,
    )
    logger.info("the logs of its annotators are in %s, on the machine of each", session.logs)
    meter = ProgressMeter(store, run.id, len(sources))
    shows: list[Callable[[Progress], None]] = [partial(publish, store=store, run=run.id)]
    if show:
        shows.append(show)
    counter = RowCounter(partial(_block_sizes, sources, limit, sample), COUNT_AFTER_SECONDS)
    watching = watched(meter, counter, run.expect, shows)
    stopping = enforce_limits(run.check, LimitMonitor(limits, store, run.id, len(sources)).check)
    interrupted = False
    with run.alive():  # until its end is written down: who takes over what it holds should know that it ended well
        try:
            with _failure_noted(run), watching, stopping, AnnotatorPool(job, pool, session.logs, warn) as annotators:
                _drive(_rows(sources, limit, sample), annotators)
                while _others_left_some(run):
                    _drive(_rows(sources, limit, sample), annotators)
                _refuse_emptiness(run, sources)
        except KeyboardInterrupt:
            interrupted = True
        ledger = run.end("interrupted" if interrupted else "finished")
    return Result(run=run.id, ledger=ledger, interrupted=interrupted)


def refuse_other_threads() -> None:
    """Make sure that this is the main thread, as a run needs it: only there an interrupt, or a limit, can stop it.

    Raises:
        UsageError: it is another one.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError(
            "Molecules are annotated in the main thread only, where an interrupt or a limit can stop the run: call it "
            "there, or in a process of its own."
        )


@contextmanager
def _failure_noted(run: Run) -> Iterator[None]:
    """Write down why the run failed where the body fails."""
    try:
        yield
    except StoreGoneError:
        raise  # nothing can be written down
    except Exception as error:
        run.fail_by(error)
        raise


def _block_sizes(sources: Sequence[Source], limit: int | None, sample: pa.Table | None) -> Iterator[int]:
    """Count the rows that are to be annotated, block after block."""
    return block_sizes(sources, limit) if sample is None else iter([sample.num_rows])


def _refuse_emptiness(run: Run, sources: Sequence[Source]) -> None:
    """Fail where not one row was a molecule: such a file is not what it was taken for."""
    run.check()
    rows, invalid = run.rows_read()  # the ledger goes through every molecule, and is made once more at the end
    if rows == invalid:
        raise NoMoleculeError.of(sources, rows, "'gallon dead' says why; name another file, or its column")


def _others_left_some(run: Run) -> bool:
    """Wait while all pending molecules of this run are in the hands of others; return whether one is in nobody's."""
    while True:
        began = time.monotonic()
        free, held = run.left()
        took = time.monotonic() - began
        if free or not held:
            return free > 0
        logger.info("other runs still hold %s; waiting for them", counted(held, "molecule"))
        time.sleep(max(WAIT_SECONDS, WAITS_PER_LOOK * took))


def _rows(sources: Sequence[Source], limit: int | None, sample: pa.Table | None) -> ray.data.Dataset:
    """Lay out the reading of rows."""
    import ray.data

    from cluster.library.datasource import read_library

    return read_library(sources, limit, in_order=False, cpus=0.25) if sample is None else ray.data.from_arrow(sample)


def _drive(rows: ray.data.Dataset, annotators: AnnotatorPool) -> None:
    """Walk the rows once: read, plan and draw them, and have the annotators finish them as they become ready."""
    from ray.exceptions import RayError

    job, pool = annotators.job, annotators.pool
    spare = SpareCpus(pool)
    with closing(_blocks(_planned(rows, job), spare)) as blocks:
        batches = cut(blocks, pool.workers, pool.batch_rows)
        if job.spec.image_size is not None:
            batches = drawn(batches, job.spec.image_size, spare)
        try:
            annotators.annotate(batches)
        except RayError as error:
            raise first_of_ours(error) from error
        finally:
            batches.close()


def _planned(rows: ray.data.Dataset, job: Job) -> ray.data.Dataset:
    """Lay out the walk of the rows up to what is to be annotated: read and plan."""
    arguments = {"job": job, "log_level": worker_level()}
    dataset = rows.map_batches(
        plan_in_worker, fn_kwargs=arguments, batch_size=None, batch_format="pyarrow", num_cpus=0.5
    )
    dataset.set_name("plan")  # what the dashboard calls it
    return dataset


def _limit(dataset: ray.data.Dataset, cpus: float) -> None:
    """Have Ray Data leave the annotators their CPUs, and plan no whole library ahead of them."""
    from ray.data import ExecutionResources

    limits = ExecutionResources.for_limits(cpu=cpus, object_store_memory=PLANNED_BYTES)
    dataset.context.execution_options.resource_limits = limits


def _blocks(dataset: ray.data.Dataset, spare: Callable[[], float]) -> Generator[tuple[ObjectRef, int], None, None]:
    """Yield references to blocks, each with its number of rows; Ray Data ends when this generator is closed.

    Args:
        dataset: what is walked.
        spare: tells how many CPUs the walk may take; it is asked again and again, and Ray Data follows.
    """
    _limit(dataset, spare())
    bundles = dataset.iter_internal_ref_bundles()
    try:
        for bundle in bundles:
            _limit(dataset, spare())
            for entry in bundle.blocks:
                yield entry.ref, entry.metadata.num_rows
    finally:
        # Ray Data ends with its iterator. Python 3.12.3 keeps what a closed generator holds, unless it ends in a block
        # like this one: Ray Data then ended with the process, after Ray, with a traceback.
        del bundles
