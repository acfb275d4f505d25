"""The pool of annotators: Ray actors, one engine each, that share a stream of batches.

Ray Data's own actor pool ends a run at the first engine that does not start, and knows no way to give one actor's work
to the others. Here an annotator whose engine cannot start is retired, and one that dies is replaced; what either had
goes to whoever is left.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from cluster.annotation.annotator import Annotator
from cluster.annotation.batches import LEAST_BATCH, Batch
from cluster.annotation.job import Job
from cluster.runtime.errors import first_of_ours
from cluster.runtime.logs import worker_level
from cluster.store.store import Store
from teacher.errors import EngineStartError
from teacher.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

    from ray import ObjectRef

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0  # at most, in a call of Ray's: an interrupt is noticed between calls
CLOSE_SECONDS = 10.0
# An annotator holds half as many molecules again as its engine computes at a time, rendered or waiting, so that the
# engine never runs dry.
CALLS = 6
PLACE_SECONDS = 30.0  # in which an annotator finds a place on a cluster that has one
EARLY_DEATHS = 5  # annotators that may die in a row before their engines are ready
QUEUED = 2  # calls that wait at an annotator for one of its threads
CONTROL = "control"  # the group of calls that need not wait for a thread that annotates


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """How many annotators there are, and what each takes.

    Attributes:
        workers: annotators, as long as there are as many batches; those that find no room yet wait for it.
        cpus, gpus: what each takes of its machine.
        concurrency: molecules that one engine works on at the same time.
    """

    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    concurrency: int = 256

    @property
    def batch_rows(self) -> int:
        """Molecules in one call of an annotator."""
        return max(LEAST_BATCH, self.concurrency // 4)


@dataclass(eq=False, slots=True)
class _Member:
    """An annotator of the pool: its actor, whether it has found its place, and the batches that it was given.

    `worker` is what it is called in the store.
    """

    actor: Any
    starting: ObjectRef | None
    place: str = ""
    worker: str = ""
    has_finished: bool = False  # a batch
    batches: dict[ObjectRef, Batch] = field(default_factory=dict)  # by the calls that they were given in

    @property
    def is_ready(self) -> bool:
        return self.starting is None


class AnnotatorPool:
    """Annotators that start with the first batches and live until the pool is closed.

    Args:
        job: the run.
        pool: how many there are, and what each takes.
        logs: the folder for the logs of their engines.
        warn: called with a sentence when an annotator is lost.
    """

    def __init__(self, job: Job, pool: Pool, logs: Path, warn: Callable[[str], None]) -> None:
        self.job, self.pool = job, pool
        self._logs, self._warn = logs, warn
        self._members: list[_Member] = []
        self._retired: list[Any] = []  # actors: as long as they live, no other is given their broken GPUs
        self._left_out = 0
        self._last_retired = 0.0
        self._last_added = 0.0
        self._started = 0
        self._died_early = 0
        self._waiting: deque[Batch] = deque()  # batches that were taken back, or wait for an annotator

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def annotate(self, batches: Iterable[Batch]) -> None:
        """Have every row annotated; the next batch is asked for when an annotator has room for more.

        Args:
            batches: of planned molecules.

        Raises:
            EngineStartError: no engine could be started, on any of the annotators.
            GallonError: what else an annotator cannot go on after.
        """
        for batch in batches:
            self._waiting.append(batch)
            if len(self._members) + self._left_out < self.pool.workers:
                self._add()
            self._hand_out()
            while self._waiting:
                self._wait()
                self._hand_out()
        while any(member.batches for member in self._members) or self._waiting:
            self._wait()
            self._hand_out()

    def close(self) -> None:
        """Stop the engines in good order, and the annotators."""
        self._tell("close")
        self._kill()

    def abandon(self) -> None:
        """Stop the annotators where they are; nothing is stored after that."""
        self._tell("stop")
        self._kill()

    def _tell(self, what: str) -> None:
        """Have every annotator do something beside its work, and wait for it a while."""
        import ray

        ready = [member.actor for member in self._members if member.is_ready]
        calls = [getattr(actor, what).options(concurrency_group=CONTROL).remote() for actor in ready]
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=CLOSE_SECONDS)

    def _kill(self) -> None:
        import ray

        for member in self._members:
            ray.kill(member.actor)
        self._members.clear()
        self._release_places()

    # The annotators

    def _add(self) -> None:
        import ray

        self._started += 1
        self._last_added = time.monotonic()
        logger.info("annotator %d of run %s is to start", self._started, self.job.run)
        actor = (
            ray.remote(concurrency_groups={CONTROL: 1})(Annotator)
            .options(
                name=f"annotator {self._started} of {self.job.run}",
                num_cpus=self.pool.cpus,
                num_gpus=self.pool.gpus,
                max_concurrency=CALLS,
            )
            .remote(self.job, str(self._logs), worker_level())
        )
        self._members.append(_Member(actor, actor.start.remote()))

    def _hand_out(self) -> None:
        """Give the batches that wait to the annotators that have the fewest, as long as one has room."""
        if self._waiting and not self._members:
            self._add()  # in the place of whoever was retired, as long as one is left
        ready = [member for member in self._members if member.is_ready]
        while self._waiting and ready:
            member = min(ready, key=lambda member: len(member.batches))
            if len(member.batches) >= self._room():
                return
            batch = self._waiting.popleft()
            call = member.actor.annotate.remote(batch.block, batch.start, batch.rows)
            member.batches[call] = batch

    def _room(self) -> int:
        """Return how many batches an annotator may have: no more than its engine computes while others still start."""
        others_start = any(not member.is_ready for member in self._members)
        if others_start and time.monotonic() - self._last_added < PLACE_SECONDS:
            return max(1, self.pool.concurrency // self.pool.batch_rows)
        return CALLS + QUEUED

    def _wait(self) -> None:
        """Wait until something happens, and take note of it; an interrupt gets its turn once a second."""
        import ray

        if time.monotonic() - self._last_retired > PLACE_SECONDS and not any(each.is_ready for each in self._members):
            self._release_places()
        member_of = {ref: member for member in self._members for ref in _awaited(member)}
        done, _ = ray.wait(list(member_of), timeout=WAIT_SECONDS)
        for ref in done:
            member = member_of[ref]
            if member in self._members:  # another call of it may have shown just now that it is lost
                self._settle(member, ref)

    def _settle(self, member: _Member, ref: ObjectRef) -> None:
        """Take note that an annotator has found its place or finished a batch, or of why it did not."""
        import ray
        from ray.exceptions import ObjectLostError, RayError

        try:
            answer = ray.get(ref)
        except ObjectLostError:
            logger.warning("a machine died with %s; they are read again", counted(member.batches[ref].rows, "molecule"))
            del member.batches[ref]  # they are pending
        except RayError as error:
            cause = first_of_ours(error)
            if isinstance(cause, EngineStartError):
                self._retire(member, cause)
            elif isinstance(error, _worker_deaths()):
                self._replace(member, error)
            else:
                raise cause from error
        else:
            if ref == member.starting:
                member.starting = None
                member.place, member.worker = answer
                logger.info("an annotator has its place: %s", member.place)
            else:
                del member.batches[ref]
                member.has_finished = True
                self._died_early = 0

    def _retire(self, member: _Member, error: EngineStartError) -> None:
        """Do without an annotator whose engine cannot start.

        Raises:
            EngineStartError: it was the last one.
        """
        self._take_back(member)
        self._retired.append(member.actor)
        self._left_out += 1
        self._last_retired = time.monotonic()
        told = type(error)(f"No engine on {member.place}: {error}")
        left = self.pool.workers - self._left_out
        logger.warning("%s; %s left", told, counted(left, "annotator"))
        if not left:
            raise told from error
        self._warn(f"{told} The run goes on with {left} of {self.pool.workers} annotators.")

    def _replace(self, member: _Member, error: Exception) -> None:
        """Put a new annotator in the place of one that has died.

        Raises:
            EngineStartError: one after the other died before its engine was ready.
            StoreError: Redis failed.
        """
        import ray

        reason = str(error).strip().split("\n", maxsplit=1)[0]
        batches = counted(len(member.batches), "batch", "batches")
        logger.warning("a worker died with %s (%s), and is replaced: %s", batches, member.place or "not ready", reason)
        self._take_back(member)
        ray.kill(member.actor)
        self._died_early += self._has_died_early(member)
        where = f" on {member.place}" if member.place else ""
        if self._died_early >= EARLY_DEATHS:
            told = f"Annotators die before they are ready{where} ({reason}): see Ray's logs."
            raise EngineStartError(told) from error
        self._warn(f"An annotator died{where} and is replaced ({reason}).")
        self._add()

    def _has_died_early(self, member: _Member) -> bool:
        """Tell whether an annotator died before its engine was ready, so that the next one may, too.

        One that died later may have done so over a molecule, whose losses are counted in the store until it is blamed.
        """
        if member.has_finished:
            return False
        if not member.is_ready:
            return True
        told = Store(self.job.store_url).worker_statuses(self.job.run).get(member.worker, {})
        return told.get("engine") != "ready"

    def _take_back(self, member: _Member) -> None:
        """Remove an annotator, and let its batches wait for the others."""
        self._members.remove(member)
        self._waiting.extendleft(member.batches.values())

    def _release_places(self) -> None:
        """Let go of the GPUs that are taken to be broken: nobody has found another place for a while."""
        import ray

        while self._retired:
            ray.kill(self._retired.pop())


def _worker_deaths() -> tuple[type[Exception], ...]:
    """Return the errors by which Ray says that an actor's process, or its machine, is no more."""
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError

    return (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError)


def _awaited(member: _Member) -> Iterator[ObjectRef]:
    yield from member.batches
    if member.starting is not None:
        yield member.starting
