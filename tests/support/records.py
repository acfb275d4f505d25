"""Records as an annotator would make them, and a process on a machine that nobody here knows."""

from __future__ import annotations

from typing import Any

from cluster.runtime.process import Process
from cluster.store.record import Record
from teacher.llm.validation import Grounding

ELSEWHERE = Process("elsewhere", 1, 0)
TRUE = Grounding(precision=1.0, recall=1.0, f1=1.0, rings=None, score=1.0)


def record(smiles: str = "CCO", text: str = "text", **changes: Any) -> Record:
    """Return a record, with some of its fields changed."""
    fields = {
        "finish_reason": "stop",
        "prompt_tokens": 400,
        "completion_tokens": 60,
        "grounding": TRUE,
        "attempts": 1,
        "seed": 0,
        "temperature": 0.0,
        "max_tokens": 100,
        "seconds": 0.5,
        "run": "run",
        "software": "software",
        "time": 1.0,
    }
    return Record(smiles=smiles, text=text, **{**fields, **changes})
