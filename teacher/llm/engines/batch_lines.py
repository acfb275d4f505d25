"""OpenAI's batch format: files in which each line is a request, or the answer to one, in any order.

Providers take the requests as a file and return the answers hours later, at half the price; `vllm run-batch` does the
same on a machine of one's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from teacher import strict_json
from teacher.llm.completion import Completion
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.engines.endpoint import (
    LIMIT,
    NEWER_LIMIT,
    PROMPT_REFUSED,
    WORDS_SHOWN,
    EndpointError,
    chat_body,
    completion_of,
    error_message,
)

URL = "/v1/chat/completions"
MOST_REQUESTS = 50_000  # of a file, at OpenAI
MOST_BYTES = 200_000_000
CLAIM_SHOWN = 200  # characters
TOKEN_FIELDS = (
    LIMIT,
    NEWER_LIMIT,
)  # of the longest answer; a client finds the right one by trying, a file cannot

Outcome = Completion | PromptRejectedError | EndpointError


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchAnswer:
    """What a provider answered to one request.

    Attributes:
        custom_id: of the request.
        outcome: what the model wrote; `PromptRejectedError` where the provider refuses the request, `EndpointError`
            where it failed (it expired, say), so that it may be asked again.
        claims: what the provider says made the answer: `model`, `system_fingerprint`. Nobody proves it.
    """

    custom_id: str
    outcome: Outcome
    claims: dict[str, str] = field(default_factory=dict)


def request_line(custom_id: str, model: str, request: Request, token_field: str = LIMIT) -> bytes:
    """Return the line that asks a model, which knows one of `TOKEN_FIELDS`, for a completion, with its end."""
    facts = {"custom_id": custom_id, "method": "POST", "url": URL, "body": chat_body(model, request, token_field)}
    return json.dumps(facts, separators=(",", ":")).encode() + b"\n"


def answer_of(line: bytes | str) -> BatchAnswer:
    """Read a line of a file of answers, or of errors.

    Raises:
        ValueError: it is neither; the message says why.
    """
    facts = strict_json.read(dict[str, Any], line)
    custom_id = facts.get("custom_id")
    if not isinstance(custom_id, str):
        raise ValueError("it has no custom_id")
    response, error = facts.get("response"), facts.get("error")
    if response is None and error is None:
        raise ValueError("it has neither a response nor an error")
    status = response.get("status_code") if isinstance(response, dict) else None
    body = response.get("body") if isinstance(response, dict) else response
    if error or status not in (None, 200):
        return BatchAnswer(custom_id=custom_id, outcome=_failure(status, error or body))
    try:
        outcome: Outcome = completion_of(body)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as reason:
        outcome = EndpointError(f"the provider's answer is no completion ({str(reason) or type(reason).__name__})")
    return BatchAnswer(custom_id=custom_id, outcome=outcome, claims=_claims(body))


def _failure(status: Any, error: Any) -> Outcome:
    try:
        words = error_message(error)[:WORDS_SHOWN]
    except AttributeError:
        words = str(error)
    code = error.get("code") if isinstance(error, dict) else None
    told = ": ".join(str(part) for part in (f"HTTP {status}" if status else None, code, words) if part)
    if isinstance(status, int) and status in PROMPT_REFUSED:
        return PromptRejectedError(f"the provider refuses it ({told})")
    return EndpointError(f"the provider failed ({told})")


def _claims(body: Any) -> dict[str, str]:
    if not isinstance(body, dict):
        return {}
    claimed = {name: body.get(name) for name in ("model", "system_fingerprint")}
    return {name: value[:CLAIM_SHOWN] for name, value in claimed.items() if isinstance(value, str)}
