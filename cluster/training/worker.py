"""What a training worker does: its share of the fits, or its share of each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ray
import ray.train
import torch
from ray.train.torch import get_device

from cluster.runtime.logs import log_in_worker, ray_log_folder
from cluster.training.fit import Fit
from cluster.training.group import DataShard, ProcessGroup
from cluster.training.loop import DivergenceError, Training
from cluster.training.reporter import Reporter
from cluster.training.results import failure_of, is_done

if TYPE_CHECKING:
    from ray import ObjectRef

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerConfig:
    """What all workers are told: `training.TrainResources` says what `together` means.

    Attributes:
        fits: reference to the list of fits.
        parts: references to one `DataShard` for all workers, or to one for each.
        folder: where results go.
        threads: of each worker.
        log_level: of each worker.
    """

    fits: ObjectRef
    parts: Sequence[ObjectRef]
    folder: Path
    together: bool
    threads: int
    log_level: int = logging.INFO


def run_worker(config: Mapping[str, WorkerConfig]) -> None:
    """Do this worker's share; runs in every worker of Ray Train."""
    order = config["work"]
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    log_in_worker(ray_log_folder(), "train-worker", order.log_level)
    logger.info("training worker %d of %d", rank + 1, workers)
    torch.set_num_threads(order.threads)
    fits: list[Fit] = ray.get(order.fits)
    part: DataShard = ray.get(order.parts[rank if order.together else 0])
    group = ProcessGroup(rank, workers, str(get_device())) if order.together else ProcessGroup(0, 1, str(get_device()))
    reporter = Reporter(ray.train.report if group.size == workers else None)
    for fit in fits if order.together else fits[rank::workers]:
        if not group.agreed(is_done(order.folder, fit.id)):
            try:
                Training(fit, part, group, order.folder, reporter).run()
            except DivergenceError as error:  # raised by all of a group alike; Ray would only try the same again
                logger.warning("fit %s came to nothing: %s", fit.id, error)
                failure_of(order.folder, fit.id).write_text(str(error), encoding="utf-8")
