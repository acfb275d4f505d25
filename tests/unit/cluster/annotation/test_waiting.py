"""How a run waits for molecules that others hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.annotation import annotate
from cluster.annotation.annotate import WAIT_SECONDS, WAITS_PER_LOOK


class Clock:
    """Time that passes only while somebody looks or waits.

    Attributes:
        now: seconds.
        waits: how long each wait was.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)


def waits_of(monkeypatch: pytest.MonkeyPatch, *looks: float) -> list[float]:
    """Return how long a run waits after looks that take so many seconds, the last of which finds something free."""
    clock, left = Clock(), iter(looks)

    def look() -> tuple[int, int]:
        took = next(left)
        clock.now += took
        return (1, 0) if len(clock.waits) == len(looks) - 1 else (0, 7)

    run: Any = SimpleNamespace(left=look)
    monkeypatch.setattr(annotate, "time", clock)
    assert annotate._others_left_some(run)
    return clock.waits


def test_looks_at_what_others_hold_take_a_small_part_of_the_time_of_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits_of(monkeypatch, 5.0, 0.6, 5.0) == pytest.approx([5.0 * WAITS_PER_LOOK, 0.6 * WAITS_PER_LOOK])


def test_quick_looks_at_what_others_hold_are_not_made_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits_of(monkeypatch, 0.0, 0.001, 0.0) == [WAIT_SECONDS, WAIT_SECONDS]
