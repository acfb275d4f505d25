"""The annotation run: library rows stream through Ray Data into a pool of `Annotator` actors and end in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cluster.annotator import Annotator
from cluster.brakes import Brakes, Watch, braked
from cluster.causes import causes
from cluster.connection import StoreGoneError
from cluster.job import EngineFactory, Job
from cluster.library import Source, count
from cluster.metrics import publish
from cluster.plan import plan
from cluster.progress import Progress, ProgressMeter, watched
from cluster.record import Ledger
from cluster.run import Run, bury_lost_runs
from cluster.store import Store
from teacher.catalog import Prompt
from teacher.errors import GallonError
from teacher.spec import Spec

if TYPE_CHECKING:
    import ray.data

    from cluster.ray_session import RaySession

NO_BRAKES = Brakes(max_error_rate=1.0, stall_minutes=float("inf"))
COUNT_AFTER_SECONDS = 20.0  # a run that has ended by then needs no estimate, which takes reading the library once more
WAIT_SECONDS = 5.0  # between looks at what another run has left to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The pool of annotators.

    Attributes:
        workers: the most there may be; the pool starts with one and grows while there is work.
        cpus, gpus: what each takes of its machine.
        concurrency: molecules that one engine works on at the same time.
    """

    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    concurrency: int = 256

    # An annotator holds half as many molecules again as its engine computes at a time, rendered or waiting, so that the
    # engine never runs dry. A call costs Ray about as much as a hundred rows, so it does not get fewer than 64.
    CALLS = 6

    @property
    def batch_rows(self) -> int:
        """Molecules in one call of an annotator."""
        return max(64, self.concurrency // 4)


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
    spec: Spec,
    prompt: Prompt,
    store: Store,
    session: RaySession,
    engine: EngineFactory,
    pool: Pool,
    max_attempts: int = 3,
    brakes: Brakes = NO_BRAKES,
    show: Callable[[Progress], None] | None = None,
) -> Result:
    """Annotate every molecule of a library once and return the ledger of its rows.

    Molecules that the store has accepted for this spec, or that are dead, are left as they are; those that another
    run holds are waited for, and taken over if it ends without them. An interrupt (Ctrl-C) ends the run in good
    order; whatever ends it, the same call resumes where it stopped. To be called in the main thread.

    Args:
        sources: the files of the library.
        limit: read only so many rows, over the files in order.
        spec: what decides the annotations.
        prompt: the prompt that the spec refers to.
        store: where they go; its URL must be reachable for every node of the cluster.
        session: the Ray cluster to run on.
        engine: starts an engine inside an annotator.
        pool: how many annotators there are and what each takes.
        max_attempts: how often a molecule may be given to an engine before it is a dead letter.
        brakes: when the run stops by itself.
        show: called about once a second with the progress.

    Raises:
        GallonError: what ended the run, in one sentence.
    """
    store.check_policy()
    store.keep_spec(spec, prompt)
    bury_lost_runs(store)
    paths = tuple(source.path for source in sources)
    run = Run(store, spec, paths, limit, started=time.time())
    job = Job(
        run=run.id,
        store_url=store.url,
        spec=spec,
        prompt=prompt,
        sources=paths,
        max_attempts=max_attempts,
        engine=engine,
    )
    meter = ProgressMeter(store, run.id, len(sources))
    interrupted = False
    shows: list[Callable[[Progress], None]] = [partial(publish, store=store, run=run.id)]
    if show:
        shows.append(show)
    watching = watched(meter, partial(_expected, run, sources, limit), shows, COUNT_AFTER_SECONDS)
    try:
        with run.alive(), watching, braked(Watch(brakes, store, run.id, len(sources))):
            _drive(_pipeline(sources, limit, job, session, pool))
            while _others_left_some(run):
                _drive(_pipeline(sources, limit, job, session, pool))
    except KeyboardInterrupt:
        interrupted = True
    except GallonError as error:
        if not isinstance(error, StoreGoneError):
            run.fail(str(error))
        raise
    ledger = run.end("interrupted" if interrupted else "finished")
    return Result(run=run.id, ledger=ledger, interrupted=interrupted)


def _expected(run: Run, sources: Sequence[Source], limit: int | None) -> int:
    """Count the rows of the library, and note their number with the run."""
    rows = count(sources, limit)
    run.expect(rows)
    return rows


def _others_left_some(run: Run) -> bool:
    """Wait until no molecule of this run is pending, or no other run is there to end it; return whether some is."""
    while run.ledger().pending:
        if not run.others():
            return True
        time.sleep(WAIT_SECONDS)
    return False


def _pipeline(
    sources: Sequence[Source], limit: int | None, job: Job, session: RaySession, pool: Pool
) -> ray.data.Dataset:
    """Lay out the walk of the rows: read, plan, annotate."""
    import ray.data

    from cluster.datasource import read_library

    workers = ray.data.ActorPoolStrategy(
        min_size=1,
        max_size=pool.workers,
        max_concurrent_calls_per_actor=Pool.CALLS,
        max_tasks_in_flight_per_actor=Pool.CALLS + 2,
        enable_true_multi_threading=True,
    )
    dataset = (
        read_library(sources, limit, in_order=False, cpus=0.25)
        .map_batches(plan, fn_kwargs={"job": job}, batch_size=None, batch_format="pyarrow", num_cpus=0.5)
        .repartition(target_num_rows_per_block=pool.batch_rows)
        .map_batches(
            Annotator,
            fn_constructor_kwargs={"job": job, "log_folder": str(session.logs)},
            batch_size=None,
            batch_format="pyarrow",
            compute=workers,
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
        )
    )
    dataset.set_name("annotate")  # what the dashboard calls it
    return dataset


def _drive(dataset: ray.data.Dataset) -> None:
    """Run the pipeline to its end; what flows back are counts, which the store knows better."""
    from ray.exceptions import RayError

    try:
        for _ in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            pass
    except RayError as error:
        raise _cause(error) from error


def _cause(error: BaseException) -> BaseException:
    """Return the error of ours that a worker raised, out of those that Ray has wrapped around it."""
    return next((seen for seen in causes(error) if isinstance(seen, GallonError)), error)
