"""What is counted over all records of a spec while they stream by: their grounding, and when they came."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cluster.store.record import Record
from distill.report.svg import BLUE, GREY, ORANGE, WIDE, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPANS = 60  # that the time of a run is cut into
STEPS = 20  # of grounding


class RunStatistics:
    """Counts of records.

    Attributes:
        records: of the spec; `own` of them the run made.
        grounding: int64, records by grounding, in `STEPS` steps from 0 to 1.
        software: ids of what made them.
        accepted, tokens: int64, what the run accepted and wrote in each of `SPANS` spans of its time.
    """

    def __init__(self, run: str, facts: Mapping[str, Any]) -> None:
        self.records = self.own = 0
        self.software: set[str] = set()
        self.grounding = np.zeros(STEPS, dtype=np.int64)
        self.accepted = np.zeros(SPANS, dtype=np.int64)
        self.tokens = np.zeros(SPANS, dtype=np.int64)
        self._run = run
        self._begun = float(facts["started"])
        self._seconds = max(float(facts.get("finished", time.time())) - self._begun, 1.0)
        self._score = 0.0

    def counting(self, records: Iterable[tuple[bytes, Record]]) -> Iterator[tuple[bytes, Record]]:
        """Pass records on, and count them."""
        for key, record in records:
            self._count(record)
            yield key, record

    @property
    def mean_grounding(self) -> float | None:
        """The mean over all records, or None where there are none."""
        return self._score / self.records if self.records else None

    def throughput(self) -> str:
        """Draw molecules and tokens a second over the run's time."""
        scale, unit = (
            (3600, "hours") if self._seconds > 7200 else (60, "minutes") if self._seconds > 120 else (1, "seconds")
        )
        span = self._seconds / SPANS
        times = (np.arange(SPANS) + 0.5) * span / scale

        def draw(axes: Axes) -> None:
            axes.fill_between(times, self.accepted / span, step="mid", color=BLUE, alpha=0.25, linewidth=0)
            axes.step(times, self.accepted / span, where="mid", color=BLUE, linewidth=1.2)
            axes.set(xlabel=f"{unit} since the start", xlim=(0, self._seconds / scale), ylim=(0, None))
            axes.set_ylabel("molecules/s (solid)")
            right = axes.twinx()
            right.step(times, self.tokens / span, where="mid", color=ORANGE, linewidth=1.2, linestyle="--")
            right.set(ylim=(0, None))
            right.set_ylabel("tokens/s (dashed)")
            right.spines["right"].set_visible(True)

        return figure(draw, "throughput", WIDE)

    def agreement(self) -> str:
        """Draw how many records agree with RDKit how far."""

        def draw(axes: Axes) -> None:
            edges = np.arange(STEPS) / STEPS
            axes.bar(edges, self.grounding, width=0.9 / STEPS, align="edge", color=BLUE)
            axes.set(xlabel="grounding (agreement with RDKit)", ylabel="records", xlim=(0, 1))
            axes.axvline(self.mean_grounding or 0.0, color=GREY, linewidth=0.8, linestyle=":")

        return figure(draw, "grounding", WIDE)

    def _count(self, record: Record) -> None:
        self.records += 1
        self.software.add(record.software)
        self._score += record.grounding.score
        self.grounding[min(int(record.grounding.score * STEPS), STEPS - 1)] += 1
        if record.run == self._run:
            self.own += 1
            span = int((record.time - self._begun) / self._seconds * SPANS)
            span = min(max(span, 0), SPANS - 1)  # clocks of several machines need not agree
            self.accepted[span] += 1
            self.tokens[span] += record.completion_tokens
