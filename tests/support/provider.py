"""A provider of a batch API: answers files of requests truly, or as a test has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacher.chemistry.molecule import key_of
from tests.support.scripted import SMILES_LINE, true_answer

Line = dict[str, Any]
MODEL_CLAIMED = "some-model-2026-01-01"


def custom_id(smiles: str) -> str:
    """Return how a molecule is called in requests and answers."""
    return key_of(smiles).hex()


def completed(request: Line, text: str, finish_reason: str = "stop", **message: Any) -> Line:
    """Return the line of an answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    body = {"id": "chatcmpl-1", "model": MODEL_CLAIMED, "system_fingerprint": "fp_1", "choices": [choice]}
    response = {"status_code": 200, "request_id": "1", "body": {**body, "usage": usage}}
    return {"id": "batch_req_1", "custom_id": request["custom_id"], "response": response, "error": None}


def failed(request: Line, status: int | None, code: str, message: str = "in its own words") -> Line:
    """Return the line of an error: of HTTP, or where there was no HTTP at all, as of a batch that expired."""
    line: Line = {"id": "batch_req_1", "custom_id": request["custom_id"], "response": None, "error": None}
    error = {"code": code, "message": message}
    if status is None:
        return {**line, "error": error}
    return {**line, "response": {"status_code": status, "request_id": "1", "body": {"error": error}}}


def smiles_in(request: Line) -> str:
    """Return the molecule that a request asks about."""
    content = request["body"]["messages"][-1]["content"]
    found = SMILES_LINE.search("\n".join(part["text"] for part in content if part["type"] == "text"))
    assert found is not None
    return found[1]


def read_requests(*files: Path) -> list[Line]:
    """Return the requests in files."""
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def answer(
    files: Sequence[Path], results: Path, otherwise: Mapping[str, Callable[[Line], Line]] | None = None
) -> list[Line]:
    """Answer files of requests, the last first, and return the lines; some SMILES are answered otherwise."""
    answers = []
    for request in reversed(read_requests(*files)):
        smiles = smiles_in(request)
        script = (otherwise or {}).get(smiles)
        answers.append(script(request) if script else completed(request, true_answer(smiles)))
    results.write_text("".join(json.dumps(line) + "\n" for line in answers))
    return answers
