"""The steps of a row and its molecule, each atomic: registered, claimed, handed to an engine, committed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from cluster.store.calls import by_bucket
from cluster.store.connection import store_errors
from cluster.store.heartbeats import Heartbeats
from cluster.store.keys import (
    BUCKETS,
    PARSED_SECONDS,
    RUN_SECONDS,
    STATES,
    bucket_of,
    counts_key,
    letters_key,
    members_key,
    of_spec,
    rows_key,
)
from cluster.store.record import DeadLetter, Record

if TYPE_CHECKING:
    from redis.client import Pipeline

FINISHED, HELD = -1, -2  # answers of `Molecules.claim`
LETTERS_PER_CALL = 1_000

Outcome = tuple[bytes, Record | DeadLetter]


@dataclass(frozen=True, slots=True)
class Row:
    """A row that holds a molecule: the molecule's key and where it stands in the library."""

    key: bytes
    source: int
    row: int

    @property
    def owner(self) -> bytes:
        """The row's own name, by which it knows its molecule again when a task is run a second time."""
        return f"{self.source}:{self.row}".encode()


class Molecules(Heartbeats):
    """How molecules move between pending, accepted and dead."""

    def parsed(self, digest: str) -> bytes | None:
        """Return what was kept of rows with this digest: their molecule keys one after the other, or None."""
        with store_errors(self.url):
            return cast("bytes | None", self._redis.getex(f"gallon:parsed:{digest}", ex=PARSED_SECONDS))

    def save_parsed(self, digest: str, keys: bytes) -> None:
        """Keep the molecule keys of rows, for as long as somebody asks for them from time to time."""
        with store_errors(self.url):
            self._redis.set(f"gallon:parsed:{digest}", keys, ex=PARSED_SECONDS)

    def register(self, spec_id: str, run: str, rows: Sequence[Row]) -> list[bool]:
        """Enter molecules into a run, and into the ledger as pending where they are new.

        Returns:
            For each row whether it is the one by which its molecule is to be annotated now: not a duplicate of
            another row of the run, and neither accepted nor dead. The same row gets the same answer again.
            Duplicates are noted as such.
        """
        calls = by_bucket(rows, key=lambda row: row.key, arguments=lambda row: [row.key, row.owner])
        answers = self._call(
            "register",
            {
                b: ([*of_spec(b, spec_id, *STATES), members_key(b, run), counts_key(b, run)], args)
                for b, args in calls.items()
            },
        )
        flags = {bucket: iter(answer) for bucket, answer in answers.items()}
        found = [next(flags[bucket_of(row.key)]) for row in rows]
        repeats = [row for row, flag in zip(rows, found, strict=True) if flag == ord("2")]
        self._note_repeats(run, repeats)
        return [flag == ord("1") for flag in found]

    def _note_repeats(self, run: str, repeats: Sequence[Row]) -> None:
        def fill(pipe: Pipeline) -> None:
            for row in repeats:
                pipe.setbit(rows_key(run, "repeats", row.source), row.row, 1)
            for source in {row.source for row in repeats}:
                pipe.expire(rows_key(run, "repeats", source), RUN_SECONDS)

        self._pipeline(fill)

    def note_rows(self, run: str, source: int, rows: range, invalid: dict[int, DeadLetter]) -> None:
        """Note consecutive rows of a source as read, and those that are no molecule with their letters.

        The last word counts: a row that took too long to parse on a busy machine may hold a molecule the next time.
        """
        self.note_stretches(run, source, [rows], invalid)

    def note_stretches(self, run: str, source: int, stretches: Sequence[range], invalid: dict[int, DeadLetter]) -> None:
        """Note several stretches of consecutive rows, as `note_rows` notes one, in one step."""
        keys = [rows_key(run, "rows", source), rows_key(run, "invalid", source), letters_key(run)]
        letters = [(row, f"{source}:{row}", letter.pack()) for row, letter in invalid.items()]
        with store_errors(self.url):
            for start in range(0, max(len(letters), 1), LETTERS_PER_CALL):
                part = [argument for letter in letters[start : start + LETTERS_PER_CALL] for argument in letter]
                noted = stretches if start == 0 else ()
                ends = [row for stretch in noted for row in (stretch.start, stretch.stop - 1)]
                self._run_script("rows", keys, [source, len(noted), *ends, *part])

    def claim(
        self,
        spec_id: str,
        run: str,
        keys: Sequence[bytes],
        claim: str,
        ended_well: Sequence[str] = (),
        *,
        alive: Collection[str] | None = None,
    ) -> list[int]:
        """Claim molecules for a run. Nothing is counted, except that whoever had them in an engine's hands lost them.

        Args:
            spec_id: the spec that they are annotated under.
            run: the run that claims them.
            keys: the molecules.
            claim: an id of this claim, without blanks. The same claim again, after its answer was lost, changes
                nothing; another one of the same run takes what the run's earlier ones hold.
            ended_well: runs that were stopped in good order, whose molecules in hand are not counted as lost.
            alive: runs of the spec that are alive, as they were read before `ended_well`; by default those of now.

        Returns:
            For each key how often an engine was lost with it in its hands; `FINISHED` where it is no longer pending,
            `HELD` where another run that is alive has claimed it.
        """
        others = [other for other in (self.alive(spec_id) if alive is None else alive) if other != run]
        calls = by_bucket(keys, key=bytes, arguments=lambda key: [key])
        answers = self._call(
            "claim",
            {b: (of_spec(b, spec_id, "pending"), args) for b, args in calls.items()},
            [run, claim, len(others), *others, len(ended_well), *ended_well],
        )
        losses = {bucket: iter(answer) for bucket, answer in answers.items()}
        return [next(losses[bucket_of(key)]) for key in keys]

    def hand(self, spec_id: str, run: str, claims: Sequence[tuple[bytes, str]]) -> int:
        """Note that a ready engine has molecules in its hands, so that their loss counts if it dies with them.

        Args:
            spec_id: the spec that they are annotated under.
            run: the run that claimed them.
            claims: the molecules, each with the id of its claim.

        Returns:
            How many it was noted of; the others are finished, or somebody else has claimed them meanwhile.
        """
        calls = by_bucket(claims, key=lambda claim: claim[0], arguments=lambda claim: [*claim])
        answers = self._call("hand", {b: (of_spec(b, spec_id, "pending"), args) for b, args in calls.items()}, [run])
        return sum(answers.values())

    def commit(self, spec_id: str, run: str, outcomes: Sequence[Outcome], tokens: Sequence[tuple[int, int]]) -> int:
        """Store what became of molecules, each in one atomic step; the first accepted record wins.

        Args:
            spec_id: the spec that the molecules were annotated under.
            run: the run that did it.
            outcomes: molecule keys, each with its record or its dead letter.
            tokens: prompt and completion tokens spent on each, over all attempts.

        Returns:
            How many molecules moved; the others had been finished by somebody else.
        """
        spent: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for (key, _), (prompt, completion) in zip(outcomes, tokens, strict=True):
            spent[bucket_of(key)][0] += prompt
            spent[bucket_of(key)][1] += completion
        calls = by_bucket(
            outcomes,
            key=lambda outcome: outcome[0],
            arguments=lambda outcome: [outcome[0], _place(outcome[1]), outcome[1].pack()],
        )
        answers = self._call(
            "commit",
            {b: ([*of_spec(b, spec_id, *STATES), counts_key(b, run)], [*spent[b], *args]) for b, args in calls.items()},
        )
        return sum(answers.values())

    def replace_letters(self, spec_id: str, letters: Sequence[tuple[bytes, DeadLetter]]) -> int:
        """Give molecules that are dead another letter each, and return how many still were dead."""
        calls = by_bucket(letters, key=lambda letter: letter[0], arguments=lambda letter: [letter[0], letter[1].pack()])
        return sum(self._call("reword", {b: (of_spec(b, spec_id, "dead"), args) for b, args in calls.items()}).values())

    def retry_dead(self, spec_id: str) -> int:
        """Put all dead letters of a spec back among the pending and return how many.

        Rows that are no molecule stay what they are: each run reads them anew.
        """
        return sum(self._call_apart("retry", {b: of_spec(b, spec_id, "dead", "pending") for b in BUCKETS}))


def _place(outcome: Record | DeadLetter) -> str:
    return "accepted" if isinstance(outcome, Record) else "dead"
