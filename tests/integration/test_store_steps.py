"""Whatever the order of the store's steps, over several runs that live and die: the ledger stays true."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from cluster.store import FINISHED, HELD, Row, Store
from teacher.molecule import key_of
from tests.integration.test_store import letter
from tests.support.records import ELSEWHERE, record

SPEC = "spec"
KEYS = [key_of(f"C{number}") for number in range(6)]
RUNS = ["one", "two", "three"]

runs = st.sampled_from(RUNS)
keys = st.sampled_from(KEYS)
claims = st.sampled_from(["a", "b", "c", "d"])
distinct_keys = st.lists(keys, min_size=1, max_size=6, unique=True)
some_keys = st.lists(keys, min_size=1, max_size=8)


class Steps(RuleBasedStateMachine):
    """The store beside a model of it: where each molecule stands, its first record, who holds it."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.store._redis.flushall()
        self.place: dict[bytes, str] = {}
        self.text: dict[bytes, str] = {}
        self.losses: dict[bytes, int] = {}
        self.holder: dict[bytes, tuple[str, str]] = {}  # the run and the claim
        self.in_hand: set[bytes] = set()
        self.alive: set[str] = set()
        self.members: dict[str, dict[bytes, int]] = {run: {} for run in RUNS}
        self.spent = dict.fromkeys(RUNS, 0)

    @rule(run=runs)
    def live(self, run: str) -> None:
        self.store.beat(run, SPEC, ELSEWHERE, 600)
        self.alive.add(run)

    @rule(run=runs)
    def die(self, run: str) -> None:
        self.store.stop_beating(run)
        self.alive.discard(run)

    @rule(run=runs, which=some_keys)
    def register(self, run: str, which: list[bytes]) -> None:
        rows = [Row(key, 0, number) for number, key in enumerate(which)]
        expected = []
        for row in rows:
            owner = self.members[run].setdefault(row.key, row.row)
            todo = owner == row.row and self.place.get(row.key) not in {"accepted", "dead"}
            if todo and row.key not in self.place:
                self.place[row.key] = "pending"
                self.losses[row.key] = 0
            expected.append(todo)
        assert self.store.register(SPEC, run, rows) == expected

    @rule(run=runs, claim=claims, which=distinct_keys, well=st.lists(runs, unique=True))
    def claim(self, run: str, claim: str, which: list[bytes], well: list[str]) -> None:
        """Claim, or, with a claim that was there before, do so again because the answer was lost."""
        expected = []
        for key in which:
            holder = self.holder.get(key, ("", ""))
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
        assert self.store.claim(SPEC, run, which, claim, well) == expected

    @rule(run=runs, claim=claims, which=distinct_keys)
    def hand(self, run: str, claim: str, which: list[bytes]) -> None:
        mine = {
            key
            for key in which
            if self.place.get(key) == "pending" and self.holder.get(key) == (run, claim) and key not in self.in_hand
        }
        assert self.store.hand(SPEC, run, [(key, claim) for key in which]) == len(mine)
        self.in_hand |= mine

    @rule(run=runs, key=keys, accepted=st.booleans(), text=st.text(alphabet="abc", min_size=1))
    def commit(self, run: str, key: bytes, accepted: bool, text: str) -> None:
        """Commits come from anywhere: a worker that was taken for dead may still finish what it began."""
        moves = self.place.get(key) != "accepted" if accepted else self.place.get(key) not in {"accepted", "dead"}
        outcome = record(text=text) if accepted else letter()
        assert self.store.commit(SPEC, run, [(key, outcome)], [(2, 3)]) == moves
        self.spent[run] += 3
        if moves:
            self.place[key] = "accepted" if accepted else "dead"
        if moves and accepted:
            self.text[key] = text
        self.holder.pop(key, None)
        self.in_hand.discard(key)

    @precondition(lambda self: "dead" in self.place.values())
    @rule()
    def retry(self) -> None:
        dead = [key for key, place in self.place.items() if place == "dead"]
        assert self.store.retry_dead(SPEC) == len(dead)
        for key in dead:
            self.place[key], self.losses[key] = "pending", 0

    @invariant()
    def every_molecule_stands_in_its_one_place(self) -> None:
        assert self.store.standing(SPEC, KEYS) == [self.place.get(key, "missing") for key in KEYS]

    def teardown(self) -> None:
        """Recount everything: at the end only, since it asks all 256 buckets."""
        assert self.store.counts(SPEC).molecules == len(self.place)
        assert {key: kept.text for key, kept in self.store.records(SPEC)} == self.text
        for run in RUNS:
            ledger = self.store.ledger(SPEC, run, 1, 0.0)
            assert ledger.molecules == len(self.members[run]) == ledger.accepted + ledger.dead + ledger.pending
            assert ledger.completion_tokens == self.spent[run]


def test_any_order_of_steps_keeps_the_ledger_true(store: Store) -> None:
    machine = type("StepsHere", (Steps,), {"store": store})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
