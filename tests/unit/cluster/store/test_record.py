"""How records and letters are packed."""

from __future__ import annotations

from cluster.store.record import DeadLetter


def test_a_letter_quotes_a_text_that_was_refused_for_its_characters() -> None:
    """A server may write `\\ud800` in its JSON, which no encoding has a place for."""
    letter = DeadLetter(
        stage="schema", error="RejectedError", message="m", source="s", row=1, text="a\ud800b", run="r", time=1.0
    )
    assert DeadLetter.unpack(letter.pack()).text == "a?b"
