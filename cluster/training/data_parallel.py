"""Fits that all workers share, each with its part of the molecules: data parallel, on Ray Train."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
import ray.train
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer, get_device
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from cluster.runtime.errors import first_line, first_of_ours, may_pass, root_of
from cluster.runtime.logs import log_in_worker, ray_log_folder
from cluster.training.fit import Fit
from cluster.training.group import ProcessGroup
from cluster.training.reporter import Reporter
from cluster.training.results import TrainingError, broke, gave_up
from cluster.training.worker import WorkerConfig, begin_work, do_fits
from teacher.errors import GallonError

logger = logging.getLogger(__name__)


def train_together(fits: Sequence[Fit], config: WorkerConfig, per_worker: Mapping[str, float], failures: int) -> None:
    """Do fits one after the other, each with all workers.

    Args:
        fits: what `config.fits` refers to.
        config: what workers are told, with a part for each of them.
        per_worker: Ray's resources of each.
        failures: times that the group of workers is started again.

    Raises:
        TrainingError: the workers kept dying, or their own code raised an error.
        GallonError: a worker did.
    """
    trainer = StoppableTrainer(
        run_worker,
        train_loop_config={"work": config},
        scaling_config=ScalingConfig(
            num_workers=len(config.parts), use_gpu="GPU" in per_worker, resources_per_worker=dict(per_worker)
        ),
        run_config=RunConfig(
            name=f"training-{fits[0].id[:12]}",
            storage_path=str(config.folder / "ray"),
            failure_config=FailureConfig(max_failures=failures),
            callbacks=[ControllerCallback(config.log_level)],
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        logger.warning("the training workers gave up: %s", error)
        cause = root_of(next(iter(error.worker_failures.values()), error))
        raise gave_up(failures + 1, cause, config.folder) from error
    except ControllerError as error:
        logger.warning("Ray Train gave up: %s", error)
        if isinstance(cause := error.controller_failure, GallonError):
            raise cause from error
        raise TrainingError(f"Ray Train could not start or hold its workers: {root_of(error)}.") from error


class StoppableTrainer(TorchTrainer):  # type: ignore[misc]  # Ray has no types
    """A trainer whose caller may be interrupted: its workers are stopped, and the interrupt goes on.

    Ray's own ends the process with exit code 0 at Ctrl-C, and leaves a handler of SIGINT in place that ignores the next
    two after the training is done.
    """

    _controller: Any = None

    def fit(self) -> Any:
        """Train, and return what Ray Train does."""
        try:
            return super().fit()
        except (KeyboardInterrupt, SystemExit):
            if self._controller is not None:
                with suppress(RayActorError):  # which ends it
                    ray.get(self._controller.abort.remote())
            raise

    def _register_sigint_handler(self, controller: Any) -> None:
        self._controller = controller


def run_worker(config: Mapping[str, WorkerConfig]) -> None:
    """Do this worker's share of every fit; runs in every worker of Ray Train."""
    order = config["work"]
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    begin_work(order, f"training worker {rank + 1} of {workers}")
    group = ProcessGroup(rank, workers, str(get_device()))
    do_fits(ray.get(order.fits), ray.get(order.parts[rank]), group, order.folder, Reporter(ray.train.report))


class ControllerCallback(UserCallback):  # type: ignore[misc]  # Ray has no types
    """Ends what would fail again, and logs what the workers report, and their deaths.

    The log is a file of Ray Train's controller, among Ray's logs.

    Args:
        level: of the log.
    """

    def __init__(self, level: int) -> None:
        self._level = level

    def after_report(self, run_context: Any, metrics: Sequence[Mapping[str, Any]], checkpoint: Any) -> None:
        """Log what the first of the workers reports: all say the same of an epoch."""
        self._begin()
        logger.info("reported: %s", metrics[0])

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Log why workers ended, and end the training where they would end so again.

        Ray Train starts all workers again after any error in one of them; what a callback raises ends it.

        Raises:
            GallonError: the first worker's, or that of its own code. Beside a worker that died, others may fail of it.
        """
        self._begin()
        for rank, error in worker_exceptions.items():
            cause = root_of(error)
            logger.warning("training worker %d died (%s): %s", rank + 1, type(cause).__name__, first_line(cause))
        for error in worker_exceptions.values():
            if isinstance(ours := first_of_ours(error), GallonError):
                raise ours
        if not any(may_pass(error) for error in worker_exceptions.values()):
            raise broke(root_of(next(iter(worker_exceptions.values()))))

    def _begin(self) -> None:
        log_in_worker(ray_log_folder(), "train-controller", self._level)
