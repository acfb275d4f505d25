"""How a connection to Redis that broke is waited for: longer from try to try, and each wait is logged."""

from __future__ import annotations

import logging

from redis.backoff import ExponentialBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

TRIES = 8
FIRST_SECONDS, LONGEST_SECONDS = 0.1, 5.0


class LoggedBackoff(ExponentialBackoff):
    """Waits between tries, told in the log."""

    def __init__(self, place: str) -> None:
        super().__init__(cap=LONGEST_SECONDS, base=FIRST_SECONDS)
        self._place = place

    def compute(self, failures: int) -> float:
        """Return how many seconds to wait after so many failures."""
        seconds = super().compute(failures)
        logger.warning("Redis at %s does not answer; the next try is in %.1f s", self._place, seconds)
        return seconds


def patient(place: str) -> Retry:
    """Return the patience with a Redis that has answered before: about 20 s.

    Args:
        place: its address, without a password.
    """
    return Retry(LoggedBackoff(place), TRIES)
