"""How records and letters are packed."""

from __future__ import annotations

import json

import pytest
import zstandard

from cluster.store.record import DeadLetter, Record
from tests.support.records import record

BEFORE_THERE_WERE_THOUGHTS = (
    *("smiles", "text", "finish_reason", "prompt_tokens", "completion_tokens", "grounding", "attempts"),
    *("seed", "temperature", "max_tokens", "seconds", "run", "software", "time"),
)


def test_a_record_without_thoughts_is_packed_as_before_there_were_any() -> None:
    facts = json.loads(zstandard.decompress(record().pack()))
    assert tuple(facts) == BEFORE_THERE_WERE_THOUGHTS
    assert Record.unpack(record().pack()).reasoning is None


@pytest.mark.parametrize("reasoning", ["", "It has a ring."])
def test_thoughts_are_packed_beside_the_text(reasoning: str) -> None:
    thoughtful = record(reasoning=reasoning, reasoning_tokens=5)
    assert Record.unpack(thoughtful.pack()) == thoughtful


def test_a_letter_quotes_a_text_that_was_refused_for_its_characters() -> None:
    """A server may write `\\ud800` in its JSON, which no encoding has a place for."""
    letter = DeadLetter(
        stage="schema", error="RejectedError", message="m", source="s", row=1, text="a\ud800b", run="r", time=1.0
    )
    assert DeadLetter.unpack(letter.pack()).text == "a?b"
