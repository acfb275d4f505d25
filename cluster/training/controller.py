"""What is logged in the process in which Ray Train leads the workers: the metrics they report, and their deaths."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ray.train import UserCallback

from cluster.runtime.errors import exception_chain
from cluster.runtime.logs import log_in_worker, ray_log_folder

logger = logging.getLogger(__name__)


class ControllerLog(UserCallback):  # type: ignore[misc]  # Ray has no types
    """Logs into a file of the controller's own, among Ray's logs.

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
            *_, cause = exception_chain(error)
            reason = str(cause).strip().split("\n", maxsplit=1)[0]
            logger.warning("training worker %d died (%s): %s", rank + 1, type(cause).__name__, reason)

    def _begin(self) -> None:
        log_in_worker(ray_log_folder(), "train-controller", self._level)
