"""Training on Ray: any number of fits, spread over workers, each written down when it is done.

A fit that has its result in the folder is not done again, and one that was interrupted goes on from its last
checkpoint there, so the same call resumes after a killed worker, driver or cluster. Workers on several machines need
a folder that all of them reach.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from cluster.runtime.logs import worker_level
from cluster.runtime.periodic import run_periodically
from cluster.training.fit import Fit, FitSet, Outcome
from cluster.training.results import TrainingError, failure_of, is_done, read_outcome, seconds_of, share_done
from cluster.training.shards import most_workers
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cluster.runtime.session import RaySession

logger = logging.getLogger(__name__)

MAX_FAILURES = 5  # times that what died is started again
LEAST_SHARED = 100_000  # molecules that a fit looks at in all, for which a group is worth its start
FITS_ON_A_GPU = 4  # side by side, each with a core: one of a thousand molecules computes on it for a part of the time
LOOK_SECONDS = 1.0
LEAST_GAINED = 0.02  # share of the work, before which what is left of it is not told: workers start first


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResources:
    """The workers that train.

    Attributes:
        workers: how many; where they have GPUs, each of them takes up to `FITS_ON_A_GPU` fits of its own at a time.
        cpus: threads of each.
        gpus: of each.
        together: whether all share every fit, each with its part of the molecules, or each takes fits of its own. None
            shares when there are fewer fits than workers that can, and one of them is long enough to be worth the start
            of a group. More workers than can share a fit stay idle.
    """

    workers: int = 1
    cpus: int = 1
    gpus: int = 0
    together: bool | None = None


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Who does some fits.

    Attributes:
        together: whether workers share every fit, or each takes fits of its own.
        workers: how many.
        cpus: threads of each.
        gpus: of each: a part of one where several workers share it, each with fits of its own.
    """

    together: bool
    workers: int
    cpus: int = 1
    gpus: float = 0.0

    @property
    def per_worker(self) -> dict[str, float]:
        """Ray's resources of a worker."""
        return {"CPU": float(self.cpus), **({"GPU": self.gpus} if self.gpus else {})}


@dataclass(frozen=True, slots=True)
class FitProgress:
    """How far fits are.

    Attributes:
        done, all: how many fits are done, out of how many.
        looked_at, to_look_at: molecules that training has looked at, out of how many, each once an epoch of each fit.
        rate: how many a second, since this call began; 0 where that is not known.
        share: of the work, from 0 to 1; None where it is not known.
        seconds_left: until all fits are done; None where it is not known.
        ids: of all fits, where they are known.
    """

    done: int
    all: int
    looked_at: int = 0
    to_look_at: int = 0
    rate: float = 0.0
    share: float | None = None
    seconds_left: float | None = None
    ids: frozenset[str] = field(default=frozenset(), compare=False, repr=False)


class FitTally:
    """Counts the fits of several calls of `fit_all` in a row as those of one: each once, however many calls name it."""

    def __init__(self) -> None:
        self._before: frozenset[str] = frozenset()  # of calls that are over: all done
        self._now: frozenset[str] = frozenset()

    def add(self, now: FitProgress) -> FitProgress:
        """Return how far all calls are that there have been so far; progress without ids stays as it is."""
        if not now.ids:
            return now
        if now.ids != self._now:
            self._before, self._now = self._before | self._now, now.ids
        known = len(self._before & now.ids)
        return replace(now, done=len(self._before) + now.done - known, all=len(self._before | now.ids))


def plan_resources(session: RaySession, workers: int | None) -> TrainResources:
    """Fit the workers to the machines of a cluster: one a GPU, or one a core, unless a number is asked for.

    Raises:
        UsageError: the machines have no room for so many; Ray Train would wait for it for ever.
    """
    gpus = 1 if session.gpus else 0
    most = session.room(cpus=1, gpus=gpus)
    number = workers or max(1, most)
    if number > most:
        each = "a CPU and a GPU" if gpus else "a CPU"
        raise UsageError(
            f"The Ray cluster has room for {counted(most, 'training worker')} with {each} each, not for {number:,}: "
            "lower --workers, or start more machines."
        )
    cpus = next(cpus for cpus in range(int(session.cpus // number), 0, -1) if session.room(cpus, gpus) >= number)
    return TrainResources(workers=number, cpus=cpus, gpus=gpus)


def fit_all(
    fit_set: FitSet, folder: Path, resources: TrainResources, show: Callable[[FitProgress], None] | None = None
) -> list[Outcome]:
    """Do all fits that are not done yet, and return the outcome of each.

    Args:
        fit_set: the fits.
        folder: where results and checkpoints lie; is made where it is missing.
        resources: the workers.
        show: called about once a second with the progress, and when all are done.

    Raises:
        TrainingError: the workers kept dying (what was done is kept, and the same call goes on), or a network diverged.
    """
    folder = folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    left = _in_turn({fit.id: fit for fit in fit_set.fits if not is_done(folder, fit.id)}.values())
    logger.info("%d of %s to do in %s", len(left), counted(len(fit_set.fits), "fit"), folder)
    if left:
        for fit in left:
            failure_of(folder, fit.id).unlink(missing_ok=True)
        with _watched(folder, fit_set.fits, show):
            _train(left, fit_set, folder, resources)
    elif show is not None and fit_set.fits:
        show(Watch(folder, fit_set.fits).look())
    for fit in left:
        if (failure := failure_of(folder, fit.id)).is_file():
            raise TrainingError(failure.read_text(encoding="utf-8"))
    return [read_outcome(folder, fit.id) for fit in fit_set.fits]


def _in_turn(fits: Iterable[Fit]) -> list[Fit]:
    """Put the first fit of each name before the second of any: soon one of each is done, and tells what others take."""
    met: Counter[str] = Counter()
    turns = []
    for fit in fits:
        turns.append((met[fit.name], fit))
        met[fit.name] += 1
    return [fit for _, fit in sorted(turns, key=itemgetter(0))]


def _train(fits: Sequence[Fit], fit_set: FitSet, folder: Path, resources: TrainResources) -> None:
    import ray

    from cluster.training.group import ProcessGroup, shard_of
    from cluster.training.worker import WorkerConfig

    plan = arranged(fits, resources)
    way = "sharing each fit" if plan.together else "taking fits one by one"
    logger.info("%s, %s", counted(plan.workers, "training worker"), way)
    parts = plan.workers if plan.together else 1
    groups = [ProcessGroup(number, parts, "cpu") for number in range(parts)]
    config = WorkerConfig(
        fits=ray.put(list(fits)),
        parts=[ray.put(shard_of(fits, fit_set.inputs, fit_set.columns, group)) for group in groups],
        folder=folder,
        threads=plan.cpus,
        log_level=worker_level(),
    )
    if plan.together:
        from cluster.training.data_parallel import train_together

        train_together(fits, config, plan.per_worker, MAX_FAILURES)
    else:
        from cluster.training.independent import train_apart

        train_apart(fits, config, plan.workers, plan.per_worker, MAX_FAILURES)


def arranged(fits: Sequence[Fit], resources: TrainResources) -> Arrangement:
    """Decide who does some fits."""
    sharing = min(resources.workers, *map(most_workers, fits))
    pays = len(fits) < sharing and max(map(_molecules_seen, fits)) >= LEAST_SHARED
    if pays if resources.together is None else resources.together:
        return Arrangement(True, sharing, resources.cpus, float(resources.gpus))
    if len(fits) <= resources.workers or not resources.gpus:
        return Arrangement(False, min(resources.workers, len(fits)), resources.cpus, float(resources.gpus))
    on_each = min(FITS_ON_A_GPU, resources.cpus, math.ceil(len(fits) / resources.workers))
    workers = min(resources.workers * on_each, len(fits))
    return Arrangement(False, workers, resources.cpus // on_each, resources.gpus / on_each)


def _molecules_seen(fit: Fit) -> int:
    """Return how many molecules a fit looks at, in all of its epochs."""
    return (len(fit.train) + len(fit.stream or ())) * fit.schedule.epochs


@contextmanager
def _watched(folder: Path, fits: Sequence[Fit], show: Callable[[FitProgress], None] | None) -> Iterator[None]:
    if show is None:
        yield
        return
    watch = Watch(folder, fits)
    with run_periodically(LOOK_SECONDS, lambda: show(watch.look()), "training-progress"):
        yield
    show(watch.look())


class Watch:
    """Looks how far fits are, by what they leave in the folder of results.

    A molecule costs one network ten times what it costs another. What it costs is known once a fit of the same name is
    done; until then it counts as the mean of those that are known.

    Args:
        folder: of the results.
        fits: whose.
    """

    def __init__(self, folder: Path, fits: Sequence[Fit]) -> None:
        self._folder, self._fits = folder, list({fit.id: fit for fit in fits}.values())
        self._ids = frozenset(fit.id for fit in fits)
        self._molecules = np.array([_molecules_seen(fit) for fit in self._fits], dtype=np.float64)
        self._seconds: dict[str, float] = {}  # that fits took which are done, by id
        self._begun, self._first = time.monotonic(), self._shares()

    def look(self) -> FitProgress:
        """Return how far they are now."""
        shares, now = self._shares(), time.monotonic()
        if (shares < self._first).any():  # a fit went on from a checkpoint that is older than its last note
            self._begun, self._first = now, shares
        seconds, gained = now - self._begun, shares - self._first
        work = self._molecules * self._costs()
        worked, whole = work @ gained, work.sum()
        return FitProgress(
            len(self._seconds),
            len(self._fits),
            looked_at=round(float(self._molecules @ shares)),
            to_look_at=round(float(self._molecules.sum())),
            rate=float(self._molecules @ gained) / seconds if seconds else 0.0,
            share=float(work @ shares / whole) if whole else None,
            seconds_left=float(work @ (1 - shares) * seconds / worked) if worked > LEAST_GAINED * whole else None,
            ids=self._ids,
        )

    def _shares(self) -> NDArray[np.float64]:
        """Return how much of each fit is done; a fit that was seen to be done is not looked for again."""
        for fit in self._fits:
            if fit.id not in self._seconds and is_done(self._folder, fit.id):
                self._seconds[fit.id] = seconds_of(self._folder, fit.id)
        return np.array([1.0 if fit.id in self._seconds else share_done(self._folder, fit.id) for fit in self._fits])

    def _costs(self) -> NDArray[np.float64]:
        """Return what a molecule costs each fit, in seconds; all the same where none is done."""
        spent: dict[str, list[float]] = defaultdict(list)
        for fit, molecules in zip(self._fits, self._molecules, strict=True):
            if self._seconds.get(fit.id) and molecules:
                spent[fit.name].append(self._seconds[fit.id] / molecules)
        known = {name: fmean(costs) for name, costs in spent.items()}
        otherwise = fmean(known.values()) if known else 1.0
        return np.array([known.get(fit.name, otherwise) for fit in self._fits])
