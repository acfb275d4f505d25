"""Training on Ray Train: any number of fits, spread over workers, each written down when it is done.

A fit that has its result in the folder is not done again, and one that was interrupted goes on from its last
checkpoint there, so the same call resumes after a killed worker, driver or cluster. Workers on several machines need
a folder that all of them reach.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.runtime.errors import exception_chain
from cluster.runtime.logs import worker_level
from cluster.runtime.periodic import run_periodically
from cluster.training.fit import Fit, FitSet, Outcome
from cluster.training.results import TrainingError, failure_of, is_done, read_outcome
from cluster.training.shards import most_workers
from teacher.errors import GallonError, UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from cluster.runtime.session import RaySession

logger = logging.getLogger(__name__)

MAX_FAILURES = 3  # times that the group of workers is started again
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResources:
    """The workers that train.

    Attributes:
        workers: how many.
        cpus: threads of each.
        gpus: of each.
        together: whether all share every fit, each with its part of the molecules, or each takes fits of its own. None
            shares when there are fewer fits than workers that can. More workers than can share a fit stay idle.
    """

    workers: int = 1
    cpus: int = 1
    gpus: int = 0
    together: bool | None = None


@dataclass(frozen=True, slots=True)
class FitProgress:
    """How many fits are done, out of how many."""

    done: int
    all: int


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
        show: called about once a second with the progress.

    Raises:
        TrainingError: the workers kept dying (what was done is kept, and the same call goes on), or a network diverged.
    """
    folder = folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    left = list({fit.id: fit for fit in fit_set.fits if not is_done(folder, fit.id)}.values())
    logger.info("%s of %d are to be done in %s", counted(len(left), "fit"), len(fit_set.fits), folder)
    if left:
        for fit in left:
            failure_of(folder, fit.id).unlink(missing_ok=True)
        with _watched(folder, [fit.id for fit in fit_set.fits], show):
            _train(left, fit_set, folder, resources)
    for fit in left:
        if (failure := failure_of(folder, fit.id)).is_file():
            raise TrainingError(failure.read_text(encoding="utf-8"))
    return [read_outcome(folder, fit.id) for fit in fit_set.fits]


def _train(fits: Sequence[Fit], fit_set: FitSet, folder: Path, resources: TrainResources) -> None:
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    from cluster.training.controller import ControllerLog
    from cluster.training.group import ProcessGroup, shard_of
    from cluster.training.worker import WorkerConfig, run_worker

    workers, together = arranged(fits, resources)
    logger.info("%s, who %s", counted(workers, "training worker"), "share each fit" if together else "take fits each")
    groups = (
        [ProcessGroup(number, workers, "cpu") for number in range(workers)] if together else [ProcessGroup(0, 1, "cpu")]
    )
    order = WorkerConfig(
        fits=ray.put(list(fits)),
        parts=[ray.put(shard_of(fits, fit_set.inputs, fit_set.columns, group)) for group in groups],
        folder=folder,
        together=together,
        threads=resources.cpus,
        log_level=worker_level(),
    )
    per_worker = {"CPU": float(resources.cpus), **({"GPU": float(resources.gpus)} if resources.gpus else {})}
    trainer = TorchTrainer(
        run_worker,
        train_loop_config={"work": order},
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=bool(resources.gpus), resources_per_worker=per_worker
        ),
        run_config=RunConfig(
            name=f"training-{fits[0].id[:12]}",
            storage_path=str(folder / "ray"),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            callbacks=[ControllerLog(order.log_level)],
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        logger.warning("the training workers gave up: %s", error)
        first = next(iter(error.worker_failures.values()), error)
        if isinstance(cause := _root(first), GallonError):
            raise cause from error
        reason = str(cause).strip().split("\n", maxsplit=1)[0]
        raise TrainingError(
            f"Training failed {MAX_FAILURES + 1} times, the last time with: {reason} Fits that were done are kept in "
            f"{folder}; the same command goes on."
        ) from error
    except ControllerError as error:
        raise TrainingError(f"Ray Train could not start or hold its workers: {_root(error)}.") from error


def arranged(fits: Sequence[Fit], resources: TrainResources) -> tuple[int, bool]:
    """Return how many workers to start, and whether they share every fit."""
    sharing = min(resources.workers, *map(most_workers, fits))
    together = len(fits) < sharing if resources.together is None else resources.together
    return (sharing if together else min(resources.workers, len(fits))), together


@contextmanager
def _watched(folder: Path, fits: Sequence[str], show: Callable[[FitProgress], None] | None) -> Iterator[None]:
    if show is None:
        yield
        return

    def show_now() -> None:
        show(FitProgress(sum(is_done(folder, fit) for fit in fits), len(fits)))

    with run_periodically(LOOK_SECONDS, show_now, "training-progress"):
        yield


def _root(error: BaseException) -> BaseException:
    """Return the error at the bottom of those that Ray has wrapped around it."""
    *_, bottom = exception_chain(error)
    return bottom
