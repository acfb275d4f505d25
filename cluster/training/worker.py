"""What a training worker does with the fits that are its own, or with its share of each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

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
    """What all workers are told.

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
    threads: int
    log_level: int = logging.INFO


def begin_work(config: WorkerConfig, name: str) -> None:
    """Log into a file of the worker's own, and take the threads that it may use."""
    log_in_worker(ray_log_folder(), "train-worker", config.log_level)
    logger.info("%s begins", name)
    torch.set_num_threads(config.threads)


def do_fits(fits: Iterable[Fit], part: DataShard, group: ProcessGroup, folder: Path, reporter: Reporter) -> None:
    """Do what is not done yet of some fits, each with all workers of the group.

    Args:
        fits: the same for all of the group.
        part: what this worker has to learn from.
        group: whose member it is.
        folder: where results go.
        reporter: to be told of epochs.
    """
    for fit in fits:
        if not group.agreed(is_done(folder, fit.id)):
            try:
                Training(fit, part, group, folder, reporter).run()
            except DivergenceError as error:  # raised by all of a group alike; Ray would only try the same again
                logger.warning("fit %s came to nothing: %s", fit.id, error)
                failure_of(folder, fit.id).write_text(str(error), encoding="utf-8")
            except Exception:
                logger.exception("fit %s (%s) ended at an error", fit.id, fit.name)
                raise
