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

from cluster.runtime.errors import first_line, root_of
from cluster.runtime.logs import log_in_worker, ray_log_folder
from cluster.training.fit import Fit
from cluster.training.group import ProcessGroup
from cluster.training.reporter import Reporter
from cluster.training.results import TrainingError, gave_up
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
        TrainingError: the workers kept dying.
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
            callbacks=[ControllerLog(config.log_level)],
        ),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        logger.warning("the training workers gave up: %s", error)
        first = next(iter(error.worker_failures.values()), error)
        if isinstance(cause := root_of(first), GallonError):
            raise cause from error
        raise gave_up(failures + 1, cause, config.folder) from error
    except ControllerError as error:
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


class ControllerLog(UserCallback):  # type: ignore[misc]  # Ray has no types
    """Logs what the workers report, and their deaths, into a file of Ray Train's controller, among Ray's logs.

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
        """Log why workers ended."""
        self._begin()
        for rank, error in worker_exceptions.items():
            cause = root_of(error)
            logger.warning("training worker %d died (%s): %s", rank + 1, type(cause).__name__, first_line(cause))

    def _begin(self) -> None:
        log_in_worker(ray_log_folder(), "train-controller", self._level)
