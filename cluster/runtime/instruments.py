"""Counters, gauges and histograms of Ray, declared at import and made at first use, so that Ray is not needed earlier.

Ray serves them on every node for Prometheus, with `ray_` in front of each name and `_total` behind that of a counter.
Every one has the tag `run`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.util import metrics


class _Instrument:
    """A metric: its name, what it says, and the tags beside `run`, each of few values."""

    def __init__(self, name: str, description: str, *tags: str) -> None:
        self.name = name
        self.description = description
        self.tags = ("run", *tags)


class Counter(_Instrument):
    """A number that only grows."""

    def add(self, number: float, **tags: str) -> None:
        """Add to it; to add nothing is allowed here, unlike in Ray."""
        if number > 0:
            self._ray.inc(number, tags)

    @cached_property
    def _ray(self) -> metrics.Counter:
        from ray.util import metrics

        return metrics.Counter(self.name, self.description, tag_keys=self.tags)


class Gauge(_Instrument):
    """A number that rises and falls."""

    def set(self, number: float, **tags: str) -> None:
        """Set it."""
        self._ray.set(number, tags)

    @cached_property
    def _ray(self) -> metrics.Gauge:
        from ray.util import metrics

        return metrics.Gauge(self.name, self.description, tag_keys=self.tags)


class Histogram(_Instrument):
    """A distribution of values over buckets with the given upper bounds."""

    def __init__(self, name: str, description: str, bounds: list[float], *tags: str) -> None:
        super().__init__(name, description, *tags)
        self.bounds = bounds

    def observe(self, value: float, **tags: str) -> None:
        """Enter a value."""
        self._ray.observe(value, tags)

    @cached_property
    def _ray(self) -> metrics.Histogram:
        from ray.util import metrics

        return metrics.Histogram(self.name, self.description, boundaries=self.bounds, tag_keys=self.tags)
