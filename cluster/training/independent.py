"""Fits that workers take each for themselves, as Ray tasks.

Workers who share nothing need no group. Ray Train starts five processes beside its workers before the first epoch; a
task runs in a process that Ray keeps for the next one, with torch loaded. On two idle cores, two fits of milliseconds
took 18 s each time in a group of two workers, and as tasks 6 s the first time and 0.05 s the times after.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.runtime.errors import first_line, first_of_ours, may_pass, root_of
from cluster.training.fit import Fit
from cluster.training.results import broke, gave_up
from cluster.training.worker import WorkerConfig, begin_work, do_fits
from teacher.errors import GallonError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share:
    """The fits of one task, by their places among all."""

    places: tuple[int, ...]
    name: str


def train_apart(
    fits: Sequence[Fit], config: WorkerConfig, workers: int, per_worker: Mapping[str, float], failures: int
) -> None:
    """Do fits side by side, each in one worker.

    Args:
        fits: what `config.fits` refers to.
        config: what workers are told, with one part for all of them.
        workers: how many work at a time.
        per_worker: Ray's resources of each.
        failures: times that what a worker left undone is tried again, of all workers together.

    Raises:
        TrainingError: workers kept dying, or their own code raised an error.
        GallonError: a worker did.
    """
    import ray
    from ray.exceptions import RayError

    do_share = ray.remote(_do_share).options(
        num_cpus=per_worker["CPU"], num_gpus=per_worker.get("GPU", 0), max_retries=0, name="fits"
    )
    waiting = deque(_shares(fits, workers, on_gpu="GPU" in per_worker))
    running: dict[ray.ObjectRef, Share] = {}
    failed = 0
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                share = waiting.popleft()
                running[do_share.remote(config, share)] = share
            (ended, *_), _ = ray.wait(list(running))
            share = running.pop(ended)
            try:
                ray.get(ended)
            except RayError as error:
                if isinstance(cause := first_of_ours(error), GallonError):
                    raise cause from error
                cause = root_of(error)
                if not may_pass(error):
                    raise broke(cause) from error
                failed += 1
                logger.warning("the worker of %s died (%s): %s", share.name, type(cause).__name__, first_line(cause))
                if failed > failures:
                    raise gave_up(failed, cause, config.folder) from error
                waiting.appendleft(share)
    finally:
        for unfinished in running:
            ray.cancel(unfinished, force=True)


def _shares(fits: Sequence[Fit], workers: int, *, on_gpu: bool) -> list[Share]:
    """Deal the fits to tasks: one each, or where Ray ends a process with its task, as on GPUs, as few as can be."""
    number = min(workers, len(fits)) if on_gpu else len(fits)
    dealt = [tuple(range(first, len(fits), number)) for first in range(number)]
    return [Share(places, ", ".join(fits[place].name for place in places)) for places in dealt]


def _do_share(config: WorkerConfig, share: Share) -> None:
    """Do the fits of a share; a Ray task."""
    import ray

    from cluster.training.group import ProcessGroup
    from cluster.training.reporter import Reporter

    begin_work(config, f"the worker of {share.name}")
    fits, part = ray.get([config.fits, config.parts[0]])
    group = ProcessGroup(0, 1, "cuda" if ray.get_gpu_ids() else "cpu")
    do_fits([fits[place] for place in share.places], part, group, config.folder, Reporter())
