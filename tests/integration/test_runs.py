"""A run's life in the store: it is not buried alive, and what it says at its end is true."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.annotation.annotate import annotate
from cluster.annotation.pool import Pool
from cluster.library.source import resolve
from cluster.records import importer
from cluster.records.importer import MOST_TOKENS, import_annotations
from cluster.runs.progress import Progress, ProgressMeter, RowCounter, watched
from cluster.runs.run import ALIVE_SECONDS, LostRunError, Run, mark_lost_runs
from cluster.runs.status import status
from cluster.runtime.process import Process
from cluster.runtime.session import RaySession
from cluster.store.connection import StoreError
from cluster.store.store import LETTERS_SECONDS, RUN_SECONDS, Row, Store
from teacher.errors import GallonError
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.namespace import APART, require_namespace
from tests.support.records import ELSEWHERE, KEYS, ROWS, letter, record
from tests.support.scripted import Script

NOBODY = 2**22 + 1  # more than the number of any process
READ = range(1, len(ROWS) + 1)


@pytest.fixture
def begun(store: Store, spec: Spec) -> Run:
    """A run in progress that has registered 50 molecules, and whose signs of life have been missing for a while."""
    run = Run(store, spec, ["f.smi"], None, time.time())
    store.save_spec(spec)
    store.register(spec.id, run.id, ROWS)
    store.note_rows(run.id, 0, READ, {})
    store.heartbeat(run.id, spec.id, ELSEWHERE, 0)
    return run


def annotate_all(store: Store, spec: Spec, run: Run) -> None:
    store.commit(spec.id, run.id, [(key, record()) for key in KEYS], [(1, 1)] * len(KEYS))


def shown(store: Store) -> str:
    """Return the state of the only run, as the user sees it."""
    (facts,) = status(store)["runs"]
    state: str = facts["state"]
    return state


# Whether it lives


def test_a_run_that_only_seemed_dead_loses_nothing(store: Store, spec: Spec, begun: Run) -> None:
    mark_lost_runs(store)
    assert shown(store) == "lost"
    with begun.alive():
        assert shown(store) == store.runs()[begun.id]["state"] == "running"
        annotate_all(store, spec, begun)
    ledger = begun.end("finished")
    assert (ledger.rows, ledger.molecules, ledger.duplicates, ledger.accepted) == (50, 50, 0, 50)
    assert shown(store) == "finished"


def test_a_run_that_ended_meanwhile_is_not_lost(store: Store, spec: Spec, begun: Run) -> None:
    before = store.facts(begun.id)
    begun.end("interrupted")
    assert not store.change_run(begun.id, before, {**before, "state": "lost"})
    assert shown(store) == "interrupted"


def test_a_lost_run_is_forgotten_after_a_day_and_its_ledger_stays(store: Store, spec: Spec, begun: Run) -> None:
    mark_lost_runs(store)
    whole, *others = sorted(lifetimes(store, begun))
    assert 0 < whole < others[0] and others[-1] <= RUN_SECONDS
    assert status(store)["runs"][0]["rows"] == 50
    store._redis.delete(*keys_of(store, begun))
    (facts,) = status(store)["runs"]
    assert (facts["state"], facts["rows"]) == ("lost", 50)


def test_a_run_that_was_frozen_for_more_than_a_day_does_not_finish(store: Store, spec: Spec, begun: Run) -> None:
    mark_lost_runs(store)
    store._redis.delete(*keys_of(store, begun))
    with begun.alive():
        annotate_all(store, spec, begun)
        with pytest.raises(LostRunError, match="frozen for more than a day"):
            begun.check()
    with pytest.raises(LostRunError):
        begun.end("finished")
    assert shown(store) == "failed"


def test_a_process_is_dead_when_its_number_belongs_to_another_or_to_nobody() -> None:
    own = Process.own()
    assert not own.has_died
    assert replace(own, began=own.began + 1).has_died
    assert replace(own, number=NOBODY).has_died
    assert not replace(own, machine="another", number=NOBODY).has_died
    assert not Process("", NOBODY, 0).has_died


def test_a_run_whose_process_has_died_is_buried_at_once(store: Store, spec: Spec) -> None:
    run = Run(store, spec, ["f.smi"], None, time.time())
    store.heartbeat(run.id, spec.id, replace(Process.own(), number=NOBODY), 60)
    mark_lost_runs(store)
    assert shown(store) == "lost"


def test_a_run_in_another_namespace_of_processes_is_not_taken_for_dead(store: Store, spec: Spec) -> None:
    """As in another container of the same machine, which may have the same host name."""
    say = "from cluster.runtime.process import Process; print(Process.own().machine)"
    require_namespace()
    said = subprocess.run([*APART, sys.executable, "-c", say], capture_output=True, text=True, check=True).stdout
    machine = said.strip()
    run = Run(store, spec, ["f.smi"], None, time.time())
    store.heartbeat(run.id, spec.id, Process(machine, NOBODY, 1), 60)
    mark_lost_runs(store)
    assert shown(store) == "running"
    assert machine.split()[0] == Process.own().machine.split()[0]


def test_the_signs_of_life_of_lost_runs_are_dropped(store: Store, spec: Spec, begun: Run) -> None:
    running = Run(store, spec, ["g.smi"], None, time.time())
    store.heartbeat(running.id, spec.id, ELSEWHERE, 60)
    store.heartbeat("of a run that nobody knows", spec.id, ELSEWHERE, 0)
    mark_lost_runs(store)
    assert store.heartbeats().keys() == {running.id}
    store.heartbeat(begun.id, spec.id, ELSEWHERE, 0)  # as one that was found lost by an earlier version has left
    mark_lost_runs(store)
    assert store.heartbeats().keys() == {running.id}


def test_a_run_that_comes_back_while_it_is_taken_for_lost_keeps_its_sign_of_life(
    store: Store, spec: Spec, begun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_run = store.change_run

    def come_back(run: str, before: dict, after: dict) -> bool:
        store.heartbeat(run, spec.id, ELSEWHERE, 60)
        return change_run(run, before, after)

    monkeypatch.setattr(store, "change_run", come_back)
    mark_lost_runs(store)
    assert begun.id in store.alive()


def test_runs_that_begin_in_the_same_second_have_ids_of_their_own(
    store: Store, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr("cluster.runs.run.secrets.token_hex", lambda size: next(drawn) if size < 16 else "ab" * size)
    runs = [Run(store, spec, [file], None, 0.0) for file in ("one.smi", "two.smi")]
    assert runs[0].id != runs[1].id
    assert [store.runs()[run.id]["sources"] for run in runs] == [["one.smi"], ["two.smi"]]


# What it says at its end


def test_repeated_rows_are_counted_and_a_task_that_runs_twice_counts_them_once(store: Store, spec: Spec) -> None:
    run = Run(store, spec, ["f.smi", "g.smi"], None, time.time())
    rows = [*ROWS[:10], Row(KEYS[0], 0, 11), Row(KEYS[0], 1, 1), Row(KEYS[1], 1, 2)]
    for _ in range(2):
        store.register(spec.id, run.id, rows)
        store.note_rows(run.id, 0, range(1, 12), {})
        store.note_rows(run.id, 1, range(1, 4), {3: letter()})
    ledger = run.end("finished")
    assert (ledger.rows, ledger.molecules, ledger.duplicates, ledger.invalid) == (14, 10, 3, 1)


def test_duplicates_are_never_negative_while_rows_are_being_read(store: Store, spec: Spec) -> None:
    run = Run(store, spec, ["f.smi"], None, time.time())
    store.register(spec.id, run.id, ROWS)
    ledger = run.ledger()
    assert (ledger.rows, ledger.molecules, ledger.duplicates) == (0, 50, 0)


def test_a_row_that_is_parsed_the_second_time_is_valid(store: Store, spec: Spec) -> None:
    run = Run(store, spec, ["f.smi"], None, time.time())
    store.note_rows(run.id, 0, range(1, 4), {2: letter(), 3: letter()})
    store.register(spec.id, run.id, ROWS[:2])
    for _ in range(2):
        store.note_rows(run.id, 0, range(1, 4), {3: letter()})
    assert len(list(store.invalid_letters(run.id))) == 1
    ledger = run.end("finished")
    assert (ledger.rows, ledger.molecules, ledger.invalid) == (3, 2, 1)


def test_a_ledger_that_does_not_add_up_is_no_finished_run(store: Store, spec: Spec, begun: Run) -> None:
    annotate_all(store, spec, begun)
    store._redis.delete(f"gallon:{{{KEYS[0][0]:02x}}}:run:{begun.id}")
    with pytest.raises(LostRunError, match="does not add up: 50 rows, but 49 molecules, 0 duplicates"):
        begun.end("finished")
    assert shown(store) == "failed"


def test_a_run_that_read_fewer_rows_than_there_are_does_not_finish(store: Store, spec: Spec, begun: Run) -> None:
    annotate_all(store, spec, begun)
    begun.expect(51)
    with pytest.raises(LostRunError, match="has read 50 of 51 rows"):
        begun.end("finished")
    assert shown(store) == "failed"


def test_a_run_can_be_interrupted_whatever_its_ledger(store: Store, spec: Spec) -> None:
    run = Run(store, spec, ["f.smi"], None, time.time())
    store.register(spec.id, run.id, ROWS)
    assert run.end("interrupted").molecules == 50


def test_a_store_that_came_back_empty_is_noticed(store: Store, spec: Spec, begun: Run) -> None:
    begun.check()
    store._redis.flushall()
    annotate_all(store, spec, begun)
    with pytest.raises(LostRunError, match="came back empty"):
        begun.check()
    with pytest.raises(LostRunError, match="came back empty"):
        begun.end("finished")
    # What it stored since can be traced to it.
    assert store.facts(begun.id)["state"] == "failed"


def test_another_store_at_the_same_address_is_noticed(store: Store, spec: Spec, begun: Run) -> None:
    store._redis.set("gallon:id", "another")
    with pytest.raises(LostRunError, match="another one answers"):
        begun.check()


def test_a_store_that_comes_back_empty_ends_the_run(run, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "alkanes.smi"
    path.write_text("".join(f"{'C' * number}\n" for number in range(1, 101)))

    def empty_it() -> None:
        while not any(store.progress(known)["accepted"] for known in store.runs()):
            time.sleep(0.05)
        store._redis.flushall()

    threading.Thread(target=empty_it, daemon=True).start()
    with pytest.raises(LostRunError, match="came back empty"):
        run(path, script=Script(delay=0.3))


def test_the_end_of_a_run_is_not_before_its_beginning_when_the_clock_was_set_back(store: Store, spec: Spec) -> None:
    run = Run(store, spec, ["f.smi"], None, time.time() + 3600)
    ledger = run.end("finished")
    facts = store.facts(run.id)
    assert ledger.seconds >= 0 and facts["finished"] >= facts["started"]
    assert status(store)["runs"][0]["molecules_per_second"] == 0


ENDING = """
import signal, sys, time
from cluster.runs.run import Run
from cluster.store.store import Store
from gallon.cli.app import interrupt
from teacher.llm.spec import Spec

store = Store(sys.argv[1])
run = Run(store, Spec.model_validate_json(sys.argv[2]), ["f.smi"], None, time.time())
signal.signal(signal.SIGTERM, interrupt)
try:
    print("running", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("ending", flush=True)
    run.end("interrupted")
"""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_keep_the_end_from_being_written_down(
    store: Store, spec: Spec, second: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDING, store.url, spec.model_dump_json()], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "running\n"
        store._redis.client_pause(1_500)
        process.terminate()
        assert process.stdout.readline() == "ending\n"
        time.sleep(0.3)
        process.send_signal(second)
    assert process.returncode == 0
    assert shown(store) == "interrupted"


# How far it is


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the progress so often that no test waits for it."""
    monkeypatch.setattr("cluster.runs.progress.PERIOD_SECONDS", 0.02)


def test_a_count_of_rows_that_takes_long_holds_up_neither_the_progress_nor_the_end(
    store: Store, begun: Run, often: None
) -> None:
    counting, shown_meanwhile, go_on = threading.Event(), threading.Event(), threading.Event()

    def block_sizes() -> Iterator[int]:
        counting.set()
        assert go_on.wait(60), "the body was left only when its rows were counted"
        yield 50

    def show(progress: Progress) -> None:
        if counting.is_set():
            shown_meanwhile.set()

    counter = RowCounter(block_sizes, 0.0)
    with watched(ProgressMeter(store, begun.id, 1), counter, begun.expect, [show]):
        assert counting.wait(30)
        assert shown_meanwhile.wait(30)
    (thread,) = (each for each in threading.enumerate() if each.name == "row-count")
    go_on.set()
    thread.join()
    assert counter.total is None
    assert "total_rows" not in store.facts(begun.id)


def test_rows_that_were_counted_are_part_of_the_progress_and_noted_with_the_run(
    store: Store, begun: Run, often: None
) -> None:
    known = threading.Event()

    def show(progress: Progress) -> None:
        if progress.total_rows == 70:
            known.set()

    counter = RowCounter(lambda: iter([50, 20]), 0.0)
    with watched(ProgressMeter(store, begun.id, 1), counter, begun.expect, [show]):
        assert known.wait(30)
    assert store.facts(begun.id)["total_rows"] == 70


def test_the_time_left_counts_the_rows_that_were_not_read_yet(store: Store, spec: Spec) -> None:
    """Ten molecules of the hundred that were found in a hundred of a thousand rows, in a hundred seconds."""
    run = Run(store, spec, ["f.smi"], None, time.time() - 100)
    keys = [number.to_bytes(16, "little") for number in range(100)]
    store.register(spec.id, run.id, [Row(key, 0, row) for row, key in enumerate(keys, 1)])
    store.note_rows(run.id, 0, range(1, 101), {})
    store.commit(spec.id, run.id, [(key, record()) for key in keys[:10]], [(1, 1)] * 10)
    with run.alive():
        assert status(store)["runs"][0]["eta_seconds"] is None
        run.expect(1_000)
        assert status(store)["runs"][0]["eta_seconds"] == pytest.approx(9_900, rel=0.1)


def test_a_lost_run_was_as_fast_as_long_as_it_lived(store: Store, spec: Spec) -> None:
    run = Run(store, spec, ["f.smi"], None, time.time() - 1_000)
    store.register(spec.id, run.id, ROWS)
    store.note_rows(run.id, 0, READ, {})
    annotate_all(store, spec, run)
    store.heartbeat(run.id, spec.id, ELSEWHERE, ALIVE_SECONDS - 975)  # its last, 25 s after its beginning
    mark_lost_runs(store)
    assert status(store)["runs"][0]["molecules_per_second"] == pytest.approx(2, rel=0.1)


# What it leaves to others


@pytest.mark.parametrize("end", [KeyboardInterrupt(), GallonError("for a reason")])
def test_a_run_is_alive_until_its_end_is_written_down(
    store: Store, spec: Spec, describe: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    alive: list[set[str]] = []
    close = Run._close

    def noting(run: Run, *given: Any, **more: str) -> None:
        alive.append(set(store.alive()))
        close(run, *given, **more)

    def stop(*_: object) -> None:
        raise end

    monkeypatch.setattr(Run, "_close", noting)
    monkeypatch.setattr("cluster.annotation.annotate._drive", stop)
    monkeypatch.setattr("cluster.annotation.annotate._rows", lambda *_: None)
    (tmp_path / "f.smi").write_text("CCO\n")
    nowhere = RaySession(address="", local=True, dashboard=None, logs=tmp_path, nodes=())
    with suppress(GallonError):
        annotate(
            resolve([str(tmp_path / "f.smi")]),
            limit=None,
            spec=spec,
            prompt=describe,
            store=store,
            session=nowhere,
            engine=Script(),
            pool=Pool(),
        )
    assert alive == [set(store.runs())]
    assert store.alive() == {}


def test_molecules_of_an_ended_run_are_free_though_a_third_one_lives(store: Store, spec: Spec, begun: Run) -> None:
    for other in ("ended", "holding", "third"):
        store.heartbeat(other, spec.id, ELSEWHERE, 60)
    store.claim(spec.id, "ended", KEYS[:10], "claim")
    store.claim(spec.id, "holding", KEYS[10:30], "claim")
    store.claim(spec.id, begun.id, KEYS[30:], "claim")
    assert begun.left() == (20, 30)
    annotate = [(key, record()) for key in KEYS[30:]]
    store.commit(spec.id, begun.id, annotate, [(1, 1)] * len(annotate))
    assert begun.left() == (0, 30)
    store.stop_heartbeat("ended")
    assert begun.left() == (10, 20)


def test_an_ended_run_leaves_its_facts_and_for_a_month_the_letters_of_its_rows(
    store: Store, spec: Spec, begun: Run
) -> None:
    store.note_rows(begun.id, 0, range(51, 52), {51: letter()})
    annotate_all(store, spec, begun)
    with begun.alive():
        store.save_worker_status(begun.id, "worker", {})
    begun.end("finished")
    assert keys_of(store, begun) == [f"gallon:{{{begun.id}}}:invalid".encode()]
    assert 0 < lifetimes(store, begun)[0] <= LETTERS_SECONDS
    (facts,) = status(store)["runs"]
    assert [facts[name] for name in ("rows", "invalid", "new", "new_dead", "pending")] == [51, 1, 50, 0, 0]


def test_what_comes_late_after_the_end_of_a_run_does_not_stay_for_ever(store: Store, spec: Spec, begun: Run) -> None:
    begun.end("interrupted")
    store.register(spec.id, begun.id, [*ROWS, Row(KEYS[0], 0, 51)])
    store.note_rows(begun.id, 0, range(1, 53), {52: letter()})
    annotate_all(store, spec, begun)
    store.save_worker_status(begun.id, "worker", {})
    assert min(lifetimes(store, begun)) > 0


def test_a_living_run_renews_what_it_has_counted(
    store: Store, spec: Spec, begun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.runs.run.BEAT_SECONDS", 0.02)
    monkeypatch.setattr("cluster.runs.run.RENEW_SECONDS", 0.0)
    keys = keys_of(store, begun)
    with begun.alive():
        for _ in range(2):  # not at the first beat only
            for key in keys:
                store._redis.expire(key, 100)
            while min(map(store._redis.ttl, keys)) <= 100:
                time.sleep(0.02)
    begun.check()


def test_a_living_run_gives_signs_of_life_again_and_again(
    store: Store, spec: Spec, begun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.runs.run.BEAT_SECONDS", 0.02)
    with begun.alive():
        store.stop_heartbeat(begun.id)
        deadline = time.monotonic() + 30
        while begun.id not in store.alive():
            assert time.monotonic() < deadline, "there is no second sign of life"
            time.sleep(0.02)


def test_a_failed_run_leaves_its_ledger(store: Store, spec: Spec, begun: Run) -> None:
    begun.fail("for a reason")
    facts = store.facts(begun.id)
    assert (facts["state"], facts["reason"], facts["ledger"]["pending"]) == ("failed", "for a reason", 50)


def keys_of(store: Store, run: Run) -> list[bytes]:
    return [key for key in store._redis.scan_iter(f"*{run.id}*", count=1000) if key]


def lifetimes(store: Store, run: Run) -> list[int]:
    """Return how many seconds each key of a run has left; -1 for ever."""
    return [store._redis.ttl(key) for key in keys_of(store, run)]


# Imports are runs


def lines_of(path: Path, *lines: dict) -> Path:
    made = {"text": "An alcohol.", "model": "gpt"}
    path.write_text("".join(json.dumps({**made, **line}) + "\n" for line in lines))
    return path


def test_an_import_gives_signs_of_life(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, validate = [], importer.validate
    monkeypatch.setattr(importer, "validate", lambda *given: alive.append(set(store.alive())) or validate(*given))
    import_annotations(store, lines_of(tmp_path / "made.jsonl", {"smiles": "CCO"}))
    assert alive == [set(store.runs())]
    assert store.alive() == {}
    assert shown(store) == "finished"


def test_an_import_that_is_buried_alive_goes_on(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validate = importer.validate

    def bury_it(*given):
        store.stop_heartbeat(*store.runs())
        mark_lost_runs(store)
        return validate(*given)

    monkeypatch.setattr(importer, "validate", bury_it)
    lines = [{"smiles": smiles} for smiles in ("CCO", "CCN", "OCC")]
    (ledger,) = import_annotations(store, lines_of(tmp_path / "made.jsonl", *lines)).values()
    assert (ledger.rows, ledger.molecules, ledger.duplicates, ledger.accepted) == (3, 2, 1, 2)


@pytest.mark.parametrize("tokens", [MOST_TOKENS + 1, 2**63, 10**400, -1])
def test_a_line_with_an_impossible_number_of_tokens_is_refused_and_the_others_are_kept(
    store: Store, tmp_path: Path, tokens: int
) -> None:
    lines = [{"smiles": "CCO"}, {"smiles": "CCN", "completion_tokens": tokens}, {"smiles": "CCC", "prompt_tokens": 7}]
    (ledger,) = import_annotations(store, lines_of(tmp_path / "made.jsonl", *lines)).values()
    assert (ledger.rows, ledger.accepted, ledger.invalid, ledger.prompt_tokens) == (3, 2, 1, 7)
    assert ledger.completion_tokens == 0


def test_as_many_tokens_as_are_taken_are_counted_exactly(store: Store, tmp_path: Path) -> None:
    lines = [{"smiles": "C" * number, "prompt_tokens": MOST_TOKENS} for number in range(1, 101)]
    (ledger,) = import_annotations(store, lines_of(tmp_path / "made.jsonl", *lines)).values()
    assert ledger.prompt_tokens == 100 * MOST_TOKENS


def test_an_import_into_a_store_that_fails_says_so_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given, **more):
        raise StoreError("Redis refused.")

    monkeypatch.setattr(Store, "commit", refuse)
    with pytest.raises(StoreError):
        import_annotations(store, lines_of(tmp_path / "made.jsonl", {"smiles": "CCO"}))
    assert shown(store) == "failed"


# Redis as it fails


def test_scripts_that_redis_forgets_are_sent_again(store: Store, spec: Spec, begun: Run) -> None:
    done = threading.Event()
    forgetful = Store(store.url)

    def forget() -> None:
        while not done.is_set():
            forgetful._redis.script_flush()

    thread = threading.Thread(target=forget)
    thread.start()
    try:
        for number in range(30):
            claim = secrets.token_hex(4)
            assert store.claim(spec.id, begun.id, KEYS, claim) == [0] * len(KEYS)
            assert begun.ledger().molecules == 50
            store.note_rows(begun.id, 0, range(number, number + 1), {})
    finally:
        done.set()
        thread.join()
        forgetful.close()
