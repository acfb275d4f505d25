"""Whatever the order of the store's steps, over runs that live, die, are buried and forgotten: the ledger stays true.

A step whose answer was lost is done again, as the client and Ray do it.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from cluster.runs.run import Run, mark_lost_runs
from cluster.store.store import FINISHED, HELD, Row, Store
from teacher.chemistry.molecule import key_of
from teacher.llm.spec import Model, PromptRef, Spec
from tests.support.records import ELSEWHERE, letter, record

MADE = Spec(model=Model(name="m", revision="1"), prompt=PromptRef(name="p", version=1, digest="d"), sampling=None)
SPEC = MADE.id
KEYS = [key_of(f"C{number}") for number in range(6)]
LINES = range(12)  # line n holds the molecule n, modulo 6
RUNS = range(3)

runs = st.sampled_from(RUNS)
keys = st.sampled_from(KEYS)
claims = st.sampled_from(["a", "b", "c", "d"])
distinct_keys = st.lists(keys, min_size=1, max_size=6, unique=True)
lines = st.lists(st.sampled_from(LINES), min_size=1, max_size=8)
stretches = st.tuples(st.integers(0, 3), st.integers(1, 4)).map(lambda pair: range(pair[0], sum(pair)))
lost_answer = st.booleans()


class Steps(RuleBasedStateMachine):
    """The store beside a model of it: where each molecule stands, its first record, who holds it."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.store._redis.flushall()
        self.runs = [Run(self.store, MADE, ["f.smi"], None, 0.0) for _ in RUNS]
        self.ids = [run.id for run in self.runs]
        self.state = dict.fromkeys(RUNS, "running")
        self.place: dict[bytes, str] = {}
        self.text: dict[bytes, str] = {}
        self.losses: dict[bytes, int] = {}
        self.holder: dict[bytes, tuple[int, str]] = {}  # the run and the claim
        self.in_hand: set[bytes] = set()
        self.alive: set[int] = set()
        for run in RUNS:
            self.forgotten(run)

    def forgotten(self, run: int) -> None:
        self.members: dict[int, dict[bytes, int]] = {**getattr(self, "members", {}), run: {}}
        self.registered: dict[int, set[int]] = {**getattr(self, "registered", {}), run: set()}
        self.read: dict[int, set[int]] = {**getattr(self, "read", {}), run: set()}
        self.invalid: dict[int, set[int]] = {**getattr(self, "invalid", {}), run: set()}
        self.spent: dict[int, int] = {**getattr(self, "spent", {}), run: 0}

    @rule(run=runs)
    def live(self, run: int) -> None:
        self.store.heartbeat(self.ids[run], SPEC, ELSEWHERE, 600)
        self.alive.add(run)

    @rule(run=runs)
    def die(self, run: int) -> None:
        self.store.stop_heartbeat(self.ids[run])
        self.alive.discard(run)

    @rule()
    def bury(self) -> None:
        """Another run begins, and takes all for lost that give no signs of life."""
        mark_lost_runs(self.store)
        self.state |= {run: "lost" for run in RUNS if self.state[run] == "running" and run not in self.alive}

    @rule(run=runs)
    def wake(self, run: int) -> None:
        """A run that was frozen gives signs of life again, and then none."""
        with self.runs[run].alive():
            self.state[run] = "running" if self.state[run] == "lost" else self.state[run]
            assert self.store.facts(self.ids[run])["state"] == self.state[run]
        self.alive.discard(run)

    @rule(run=runs)
    def end(self, run: int) -> None:
        """A run ends and is forgotten; late workers of it may still take further steps."""
        ledger = self.runs[run].end("interrupted")
        assert ledger.molecules + ledger.duplicates == len(self.registered[run])
        self.state[run] = "interrupted"
        self.forgotten(run)

    @rule(run=runs, stretch=stretches, bad=st.sets(st.integers(0, 6)), again=lost_answer)
    def note_rows(self, run: int, stretch: range, bad: set[int], again: bool) -> None:
        """Rows are read, some without a molecule; the last word on each counts."""
        letters = {row: letter() for row in stretch if row in bad}
        for _ in range(1 + again):
            self.store.note_rows(self.ids[run], 0, stretch, letters)
        self.read[run] |= set(stretch)
        self.invalid[run] = self.invalid[run] - set(stretch) | set(letters)

    @rule(run=runs, which=lines, again=lost_answer)
    def register(self, run: int, which: list[int], again: bool) -> None:
        rows = [Row(KEYS[line % len(KEYS)], 0, line) for line in which]
        self.registered[run] |= set(which)
        expected = []
        for row in rows:
            owner = self.members[run].setdefault(row.key, row.row)
            todo = owner == row.row and self.place.get(row.key) not in {"accepted", "dead"}
            if todo and row.key not in self.place:
                self.place[row.key] = "pending"
                self.losses[row.key] = 0
            expected.append(todo)
        for _ in range(1 + again):
            assert self.store.register(SPEC, self.ids[run], rows) == expected

    @rule(run=runs, claim=claims, which=distinct_keys, well=st.lists(runs, unique=True), again=lost_answer)
    def claim(self, run: int, claim: str, which: list[bytes], well: list[int], again: bool) -> None:
        """Claim, or, with a claim that was there before, do so again because the answer was lost."""
        expected = []
        for key in which:
            holder = self.holder.get(key, (-1, ""))
            if self.place.get(key) != "pending":
                expected.append(FINISHED)
            elif holder[0] in self.alive - {run}:
                expected.append(HELD)
            else:
                if holder[1] != claim:
                    self.losses[key] += key in self.in_hand and holder[0] not in well
                    self.holder[key] = run, claim
                    self.in_hand.discard(key)
                expected.append(self.losses[key])
        for _ in range(1 + again):
            ended_well = [self.ids[each] for each in well]
            assert self.store.claim(SPEC, self.ids[run], which, claim, ended_well) == expected

    @rule(run=runs, claim=claims, which=distinct_keys, again=lost_answer)
    def hand(self, run: int, claim: str, which: list[bytes], again: bool) -> None:
        mine = {
            key
            for key in which
            if self.place.get(key) == "pending" and self.holder.get(key) == (run, claim) and key not in self.in_hand
        }
        for noted in (len(mine), 0)[: 1 + again]:
            assert self.store.hand(SPEC, self.ids[run], [(key, claim) for key in which]) == noted
        self.in_hand |= mine

    @rule(run=runs, key=keys, accepted=st.booleans(), text=st.text(alphabet="abc", min_size=1), again=lost_answer)
    def commit(self, run: int, key: bytes, accepted: bool, text: str, again: bool) -> None:
        """Commits come from anywhere: a worker that was taken for dead may still finish what it began."""
        moves = self.place.get(key) != "accepted" if accepted else self.place.get(key) not in {"accepted", "dead"}
        outcome = record(text=text) if accepted else letter()
        for moved in (moves, False)[: 1 + again]:
            assert self.store.commit(SPEC, self.ids[run], [(key, outcome)], [(2, 3)]) == moved
            self.spent[run] += 3
        if moves:
            self.place[key] = "accepted" if accepted else "dead"
        if moves and accepted:
            self.text[key] = text
        self.holder.pop(key, None)
        self.in_hand.discard(key)

    @precondition(lambda self: "dead" in self.place.values())
    @rule(again=lost_answer)
    def retry(self, again: bool) -> None:
        dead = [key for key, place in self.place.items() if place == "dead"]
        for retried in (len(dead), 0)[: 1 + again]:
            assert self.store.retry_dead(SPEC) == retried
        for key in dead:
            self.place[key], self.losses[key] = "pending", 0

    @invariant()
    def every_molecule_stands_in_its_one_place(self) -> None:
        assert self.store.state_of(SPEC, KEYS) == [self.place.get(key, "missing") for key in KEYS]

    def teardown(self) -> None:
        """Recount everything: at the end only, since it asks all 256 buckets."""
        assert self.store.counts(SPEC).molecules == len(self.place)
        assert {key: kept.text for key, kept in self.store.records(SPEC)} == self.text
        for run in RUNS:
            ledger = self.store.ledger(SPEC, self.ids[run], 1, 0.0)
            assert ledger.molecules == len(self.members[run]) == ledger.accepted + ledger.dead + ledger.pending
            assert ledger.molecules + ledger.duplicates == len(self.registered[run])
            assert (ledger.rows, ledger.invalid) == (len(self.read[run]), len(self.invalid[run]))
            assert ledger.completion_tokens == self.spent[run]
            assert self.store.left(SPEC, self.ids[run]) == self.left(run)
            assert self.store.facts(self.ids[run])["state"] == self.state[run]

    def left(self, run: int) -> tuple[int, int]:
        """Count the pending molecules of a run: in nobody's hands, or its own, and in those of other living runs."""
        pending = [key for key in self.members[run] if self.place.get(key) == "pending"]
        held = sum(self.holder.get(key, (-1, ""))[0] in self.alive - {run} for key in pending)
        return len(pending) - held, held


def test_any_order_of_steps_keeps_the_ledger_true(store: Store) -> None:
    machine = type("StepsHere", (Steps,), {"store": store})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
