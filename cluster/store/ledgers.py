"""How many: molecules of a spec by where they stand, and the ledger of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from cluster.store.heartbeats import Heartbeats
from cluster.store.keys import BUCKETS, STATES, counts_key, members_key, of_spec, rows_key
from cluster.store.record import Counts, Ledger
from cluster.store.stored import damaged


class Ledgers(Heartbeats):
    """Counts, none of which is kept where what it counts is not."""

    def counts(self, spec_id: str) -> Counts:
        """Count how the molecules of a spec stand."""
        lengths = self._pipeline(lambda pipe: [pipe.hlen(key) for b in BUCKETS for key in of_spec(b, spec_id, *STATES)])
        return Counts(accepted=sum(lengths[0::3]), dead=sum(lengths[1::3]), pending=sum(lengths[2::3]))

    def progress(self, run: str) -> dict[str, int]:
        """Sum what a run has counted so far: todo, accepted, dead, prompt_tokens, completion_tokens. Cheap."""
        total: dict[str, int] = defaultdict(int)
        with damaged(f"counts, of the run {run},"):
            for counted in self._pipeline(lambda pipe: [pipe.hgetall(counts_key(b, run)) for b in BUCKETS]):
                for name, value in counted.items():
                    total[name.decode()] += int(value)
        return total

    def rows_read(self, run: str, sources: int) -> tuple[int, int]:
        """Return how many rows a run has read, and how many of them are invalid."""
        rows, invalid = (self._count_rows(run, kind, sources) for kind in ("rows", "invalid"))
        return rows, invalid

    def _count_rows(self, run: str, kind: str, sources: int) -> int:
        return sum(
            self._pipeline(lambda pipe: [pipe.bitcount(rows_key(run, kind, source)) for source in range(sources)])
        )

    def ledger(self, spec_id: str, run: str, sources: int, seconds: float) -> Ledger:
        """Count how the rows of a run stand now, molecule by molecule.

        Rows, duplicates and invalid rows are each counted for themselves, so that something is lost, or still on its
        way, where they do not add up.
        """
        rows, invalid = self.rows_read(run, sources)
        duplicates = self._count_rows(run, "repeats", sources)
        molecules, accepted, dead, _ = self._tally(spec_id, run)
        moved = self.progress(run)
        return Ledger(
            rows=rows,
            molecules=molecules,
            duplicates=duplicates,
            invalid=invalid,
            accepted=accepted,
            dead=dead,
            pending=molecules - accepted - dead,
            new=moved["accepted"],
            new_dead=moved["dead"],
            prompt_tokens=moved["prompt_tokens"],
            completion_tokens=moved["completion_tokens"],
            seconds=seconds,
        )

    def left(self, spec_id: str, run: str) -> tuple[int, int]:
        """Count the molecules of a run that are pending: those that are free, and those that other living runs hold."""
        others = [other for other in self.alive(spec_id) if other != run]
        molecules, accepted, dead, held = self._tally(spec_id, run, others)
        return molecules - accepted - dead - held, held

    def _tally(self, spec_id: str, run: str, others: Sequence[str] = ()) -> list[int]:
        """Count the molecules of a run: all, accepted, dead, and pending in the hands of these other runs."""
        keys = {b: [*of_spec(b, spec_id, *STATES), members_key(b, run)] for b in BUCKETS}
        return [sum(counts) for counts in zip(*self._call_apart("tally", keys, others), strict=True)]
