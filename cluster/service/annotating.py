"""A replica that annotates: the annotator of a batch run, given one molecule at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import count

from cluster.annotation.annotator import Annotator
from cluster.annotation.draw import draw_rows
from cluster.annotation.job import Job
from cluster.runs.run import LostRunError, Run, mark_lost_runs
from cluster.service.single_flight import SingleFlight
from cluster.store.connection import StoreError
from cluster.store.store import Row, Store
from teacher.errors import EngineStartError, GallonError

logger = logging.getLogger(__name__)

SOURCE = "POST /describe"  # stands where a batch run has the file that brought a molecule


class AnnotatorReplica:
    """One engine, and a run of its own in the store, so that what it holds is free as soon as it is dead.

    To be deployed by Ray Serve. The rows of its run are the molecules that it was asked for.

    Args:
        job: what is annotated, and how; the run and the sources are those of the replica.
        logs: folder for the log and that of the engine.
        log_level: what `worker_level` returned in the driver.
        threads: molecules that are on their way through the engine at a time; further ones wait.

    Raises:
        StoreError: the store cannot be reached from here.
        EngineStartError: the engine does not start.
    """

    def __init__(self, job: Job, logs: str, log_level: int, threads: int) -> None:
        self._life = ExitStack()
        self._failed: GallonError | None = None
        self._store = Store(job.store_url)
        self._store.check_policy()
        self._store.save_spec(job.spec, job.prompt)
        mark_lost_runs(self._store)  # the replica that this one replaces may be among them
        self._spec_id, self._image_size = job.spec.id, job.spec.image_size
        self._run = Run(self._store, job.spec, (SOURCE,), None, started=time.time())
        self._annotator = Annotator(replace(job, run=self._run.id, sources=(SOURCE,)), logs, log_level)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="annotate")
        self._flights = SingleFlight[bool]()
        self._numbers, self._rows = count(1), dict[bytes, int]()  # the rows of molecules that others hold
        with ExitStack() as life:
            life.enter_context(self._run.alive())
            self._start()
            self._life = life.pop_all()
        self._life.callback(self._end)

    def _start(self) -> None:
        try:
            self._annotator.start()
            self._annotator.warm_up()
        except Exception as error:
            self._run.fail_by(error)
            raise

    async def describe(self, key: bytes, smiles: str) -> bool:
        """Have a molecule annotated, and return whether it has ended: False where another run holds it.

        Raises:
            GallonError: the engine does not start any more, or the store failed.
        """

        async def annotate() -> bool:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._annotate, key, smiles)

        return await self._flights.share(key, annotate)

    async def check_health(self) -> None:
        """Have the replica replaced that has no engine and gets none, or whose store was emptied.

        Raises:
            EngineStartError: the engine does not start.
            LostRunError: what the replica had counted is gone.
        """
        if self._failed is not None:
            raise self._failed
        try:
            await asyncio.to_thread(self._run.check)
        except LostRunError:
            raise
        except StoreError as error:
            logger.warning("whether the store is whole cannot be told: %s", error)

    def __del__(self) -> None:
        """Finish what is in hand and end the run; Ray Serve calls this before it stops a replica."""
        self._life.close()

    def _annotate(self, key: bytes, smiles: str) -> bool:
        import pyarrow as pa

        row = self._rows.get(key) or next(self._numbers)
        self._store.register(self._spec_id, self._run.id, [Row(key, 0, row)])
        self._store.note_rows(self._run.id, 0, range(row, row + 1), {})
        block = pa.Table.from_pylist([{"key": key, "smiles": smiles, "source": 0, "row": row}])
        if self._image_size is not None:
            block = draw_rows(block, self._image_size)  # in a process of its own, which one that kills RDKit ends
        try:
            self._annotator.annotate(block, 0, 1)
        except EngineStartError as error:
            self._failed = error
            raise
        (state,) = self._store.state_of(self._spec_id, [key])
        if state in {"accepted", "dead"}:
            self._rows.pop(key, None)
            return True
        self._rows[key] = row
        return False

    def _end(self) -> None:
        self._threads.shutdown()
        self._annotator.close()
        free, _ = self._run.left()
        self._run.end("interrupted" if free else "finished")
