"""Rows, records and dead letters as a run would make them, and a process on a machine that nobody here knows."""

from __future__ import annotations

from typing import Any

from cluster.runtime.process import Process
from cluster.store.record import DeadLetter, Record
from cluster.store.store import Row
from teacher.chemistry.molecule import key_of
from teacher.llm.validation import Grounding

ELSEWHERE = Process("elsewhere", 1, 0)
KEYS = [key_of(f"C{number}") for number in range(50)]
ROWS = [Row(key, 0, number + 1) for number, key in enumerate(KEYS)]
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


def letter() -> DeadLetter:
    """Return a dead letter about an answer."""
    return DeadLetter(stage="schema", error="RejectedError", message="no", source="f.smi", row=3, run="run", time=1.0)
