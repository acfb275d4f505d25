"""Dead letters by reason, the most frequent first, each with a few examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cluster.store.record import DeadLetter

EXAMPLES = 5


@dataclass
class Reason:
    """Letters of one stage and one class of error: their number, and the first few."""

    stage: str
    error: str
    number: int = 0
    examples: list[DeadLetter] = field(default_factory=list)


def reasons(letters: Iterable[DeadLetter]) -> list[Reason]:
    """Gather letters by their reasons."""
    found: dict[tuple[str, str], Reason] = {}
    for letter in letters:
        reason = found.setdefault((letter.stage, letter.error), Reason(letter.stage, letter.error))
        reason.number += 1
        if len(reason.examples) < EXAMPLES:
            reason.examples.append(letter)
    return sorted(found.values(), key=lambda reason: -reason.number)
