"""How records and letters are packed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import zstandard

from cluster.store.record import DeadLetter, Record
from tests.support.records import letter, record

BEFORE_THERE_WERE_THOUGHTS = (
    *("smiles", "text", "finish_reason", "prompt_tokens", "completion_tokens", "grounding", "attempts"),
    *("seed", "temperature", "max_tokens", "seconds", "run", "software", "time"),
)
BEFORE_THERE_WERE_CELLS = (
    *("stage", "error", "message", "source", "row", "smiles", "raw", "text", "attempts", "run", "time"),
)


def test_a_record_without_thoughts_is_packed_as_before_there_were_any() -> None:
    facts = json.loads(zstandard.decompress(record().pack()))
    assert tuple(facts) == BEFORE_THERE_WERE_THOUGHTS
    assert Record.unpack(record().pack()).reasoning is None


@pytest.mark.parametrize("reasoning", ["", "It has a ring."])
def test_thoughts_are_packed_beside_the_text(reasoning: str) -> None:
    thoughtful = record(reasoning=reasoning, reasoning_tokens=5)
    assert Record.unpack(thoughtful.pack()) == thoughtful


def test_a_letter_without_cells_is_packed_as_before_there_were_any() -> None:
    plain = letter()
    facts = json.loads(zstandard.decompress(plain.pack()))
    assert tuple(facts) == BEFORE_THERE_WERE_CELLS
    assert DeadLetter.unpack(plain.pack()) == plain
    assert plain.columns == {}


def test_cells_are_packed_into_the_letter_of_a_molecule_that_was_asked_about_with_them() -> None:
    told = replace(letter(), columns={"solvent": "DMSO"})
    assert DeadLetter.unpack(told.pack()) == told


def test_a_letter_quotes_a_text_that_was_refused_for_its_characters() -> None:
    """A server may write `\\ud800` in its JSON, which no encoding has a place for."""
    quoted = DeadLetter(
        stage="schema", error="RejectedError", message="m", source="s", row=1, text="a\ud800b", run="r", time=1.0
    )
    assert DeadLetter.unpack(quoted.pack()).text == "a?b"
