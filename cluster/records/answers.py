"""Answers that are there already, into the store: those of a provider's batch, and annotations made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.store.record import DeadLetter, Record
from cluster.store.store import Row, Store
from teacher.llm.validation import is_check


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer about a molecule.

    Attributes:
        key: of the molecule's record.
        row: where it stands in its file, from 1 on.
        tokens: of its prompt and of its completion.
        judge: checks it, and returns the record or the dead letter that it becomes.
    """

    key: bytes
    row: int
    tokens: tuple[int, int]
    judge: Callable[[], Record | DeadLetter]


@dataclass(frozen=True, slots=True)
class AnswerStore:
    """Where the answers of one run go: a molecule takes the first that is accepted, whatever came before it."""

    store: Store
    spec_id: str
    run: str

    def register(self, source: int, answers: Sequence[Answer]) -> list[bool]:
        """Enter the molecules of a file's answers into the run, and tell of each answer whether it is the first."""
        return self.store.register(self.spec_id, self.run, [Row(each.key, source, each.row) for each in answers])

    def take(self, answers: Sequence[Answer], first: Sequence[bool]) -> None:
        """Store answers that were registered: the first about each molecule, and those that are better than it."""
        self._commit([(each, each.judge()) for each, so in zip(answers, first, strict=True) if so])
        self._improve([each for each, so in zip(answers, first, strict=True) if not so])

    def _improve(self, answers: Sequence[Answer]) -> None:
        """Take in answers about molecules that were given up before."""
        letters = self.store.fetch_letters(self.spec_id, [each.key for each in answers]) if answers else []
        better = []
        for each, letter in zip(answers, letters, strict=True):
            if letter is not None:
                outcome = each.judge()
                if isinstance(outcome, Record) or tells_more(outcome, than=letter):
                    better.append((each, outcome))
        self._commit(better)
        rejected = [(each.key, outcome) for each, outcome in better if isinstance(outcome, DeadLetter)]
        self.store.replace_letters(self.spec_id, rejected)

    def _commit(self, outcomes: Sequence[tuple[Answer, Record | DeadLetter]]) -> None:
        if outcomes:
            self.store.commit(
                self.spec_id,
                self.run,
                [(each.key, outcome) for each, outcome in outcomes],
                [each.tokens for each, _ in outcomes],
            )


def tells_more(letter: DeadLetter, than: DeadLetter) -> bool:
    """Tell whether a letter is about a later answer than another one; an error is no answer."""
    return is_check(letter.stage) and (letter.attempts, True) > (than.attempts, is_check(than.stage))
