"""What is recorded of vLLM's own measurements."""

from __future__ import annotations

from typing import Any

import pytest


def test_the_time_between_two_tokens_is_not_recorded_and_the_rest_of_a_step_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger
    from vllm.v1.metrics.stats import IterationStats

    from cluster.annotation.vllm_metrics import StepStatLogger

    recorded: list[tuple[Any, ...]] = []
    monkeypatch.setattr(RayPrometheusStatLogger, "record", lambda self, *told, **_: recorded.append(told))
    step = IterationStats()
    step.inter_token_latencies_iter.extend([0.01, 0.02])
    step.time_to_first_tokens_iter.append(0.5)
    StepStatLogger.record(object.__new__(StepStatLogger), "scheduler", step)
    assert recorded == [("scheduler", step)]
    assert (step.inter_token_latencies_iter, step.time_to_first_tokens_iter) == ([], [0.5])
