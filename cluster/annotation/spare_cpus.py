"""The CPUs that the annotators of a run leave to its other steps: those that read, plan and draw."""

from __future__ import annotations

import time

from cluster.annotation.pool import Pool
from cluster.runtime.session import living_nodes

LOOK_SECONDS = 5.0
LEAST = 1.0  # reading and parsing need so many


class SpareCpus:
    """Says how many CPUs are left; machines come and go while a run lasts, as where an autoscaler brings them.

    Args:
        pool: the annotators, which are none of Ray Data's: it must leave them their CPUs.
    """

    def __init__(self, pool: Pool) -> None:
        self._taken = pool.workers * pool.cpus
        self._looked: float | None = None
        self._spare = LEAST

    def __call__(self) -> float:
        """Return the CPUs of the machines that are there, or were a few seconds ago, beyond those of annotators."""
        now = time.monotonic()
        if self._looked is None or now - self._looked > LOOK_SECONDS:
            self._looked = now
            self._spare = max(LEAST, sum(node.cpus for node in living_nodes()) - self._taken)
        return self._spare
