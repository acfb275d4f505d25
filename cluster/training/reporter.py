"""What Ray Train is told of fits in progress; `ControllerLog` has it in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

REPORT_SECONDS = 10.0


class Reporter:
    """Hands the metrics of an epoch on to Ray Train, once in `REPORT_SECONDS`.

    `ray.train.report` waits until every worker of a training has called it, and until Ray Train has fetched the report
    before, which it does every two seconds (Ray 2.60): five reports in a row took 2.0 s each, those 4 s apart 0.01 to
    0.13 s, on two busy cores. So workers report what all of them take part in, and seldom.

    Args:
        report: `ray.train.report`; None reports nothing.
    """

    def __init__(self, report: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._report = report
        self._last = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether there is a report to be made, if all workers agree."""
        return self._report is not None and time.monotonic() - self._last > REPORT_SECONDS

    def report(self, fit: str, metrics: Mapping[str, float]) -> None:
        """Report an epoch of a fit: the terms of its loss, the loss, and the validation score."""
        if self._report is not None:
            self._report({"fit": fit, **metrics})
            self._last = time.monotonic()
