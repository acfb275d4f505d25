"""vLLM's own metrics on Ray's dashboard, but for those that cost a call for every token. Imports vLLM."""

from __future__ import annotations

from typing import Any

from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger
from vllm.v1.metrics.stats import IterationStats


class StepStatLogger(RayPrometheusStatLogger):  # type: ignore[misc]  # vLLM comes without types
    """vLLM's logger for Ray, once a step and once a request."""

    def record(self, scheduler_stats: Any, iteration_stats: IterationStats | None, *args: Any, **kwargs: Any) -> None:
        """Record a step; the time between two tokens of a request is not observed, which it would be for each token."""
        if iteration_stats is not None:
            iteration_stats.inter_token_latencies_iter.clear()
        super().record(scheduler_stats, iteration_stats, *args, **kwargs)
