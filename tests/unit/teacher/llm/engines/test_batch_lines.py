"""What a provider's refusals mean: a prompt is to blame for few of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from teacher.llm.engine import PromptRejectedError
from teacher.llm.engines.batch_lines import answer_of
from teacher.llm.engines.endpoint import EndpointError


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, PromptRejectedError) for status in (400, 413, 422)),
        *((status, EndpointError) for status in (401, 402, 403, 404, 405, 409, 410, 429, 500, [400], "400")),
    ],
)
def test_only_a_refusal_of_what_was_asked_is_the_prompts_fault(status: Any, kind: type[Exception]) -> None:
    line = {"custom_id": "one", "response": {"status_code": status, "body": {"error": {"message": "no"}}}}
    outcome = answer_of(json.dumps(line)).outcome
    assert type(outcome) is kind
    assert "no" in str(outcome)
