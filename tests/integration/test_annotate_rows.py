"""Rows through the whole pipeline on a real Ray and a real Redis, with the scripted engine."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rdkit import RDConfig

from cluster.annotation.pool import Pool
from cluster.library.source import NoMoleculeError, resolve
from cluster.records.completeness import verify
from cluster.records.dead_letters import dead_letters
from cluster.records.integrity import audit
from cluster.runs.limits import LimitError, RunLimits, TooManyDeadError
from cluster.runs.run import Run
from cluster.store.connection import StoreError
from cluster.store.store import Row, Store
from teacher.chemistry.molecule import key_of
from teacher.errors import EngineStartError
from teacher.llm.spec import Spec
from tests.support.records import ELSEWHERE
from tests.support.scripted import Script


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Ten rows: five molecules, two duplicates, three rows that are none."""
    rows = [b"CCO", b"OCC", b"c1ccccc1", b"", b"CC(=O)O", b"not-a-molecule", b"C\xff", b"C1=CC=CC=C1", b"CCN", b"CC#N"]
    path = tmp_path / "library.smi"
    path.write_bytes(b"\n".join(rows) + b"\n")
    return path


def test_ledger_of_a_library_adds_up(run, library: Path) -> None:
    ledger = run(library).ledger
    assert (ledger.rows, ledger.molecules, ledger.duplicates, ledger.invalid) == (10, 5, 2, 3)
    assert (ledger.accepted, ledger.dead, ledger.pending, ledger.new) == (5, 0, 0, 5)


def test_second_run_finds_nothing_to_do_and_starts_no_engine(run, library: Path, tmp_path: Path) -> None:
    script = Script(starts=tmp_path / "starts")
    run(library, script=script)
    again = run(library, script=script).ledger
    assert (again.accepted, again.new) == (5, 0)
    assert (tmp_path / "starts").read_text().splitlines() == ["start"]


def test_only_the_new_molecules_of_a_changed_library_are_annotated(run, library: Path, tmp_path: Path) -> None:
    run(library)
    library.write_bytes(b"CCCC\n" + library.read_bytes())
    script = Script(requests=tmp_path / "requests")
    ledger = run(library, script=script).ledger
    assert (ledger.rows, ledger.accepted, ledger.new) == (11, 6, 1)
    assert (tmp_path / "requests").read_text().splitlines() == ["CCCC"]


def test_rows_that_were_parsed_before_are_told_by_their_text(run, library: Path, store: Store, spec: Spec) -> None:
    before = run(library).ledger
    (kept,) = store._redis.keys("gallon:parsed:*")
    assert len(store._redis.get(kept)) == 10 * 16
    other = spec.model_copy(update={"graph": False})
    again = run(library, spec=other).ledger
    assert store._redis.keys("gallon:parsed:*") == [kept]
    assert (again.rows, again.invalid, again.accepted) == (before.rows, before.invalid, before.accepted)
    assert {letter.row for letter in dead_letters(store, other)} == {4, 6, 7}
    smiles = [{record.smiles for _, record in store.records(each.id)} for each in (spec, other)]
    assert smiles[0] == smiles[1]


def test_files_of_several_formats_are_one_library(run, library: Path, tmp_path: Path) -> None:
    table = tmp_path / "more.csv.gz"
    table.write_bytes(gzip.compress(b"id,smiles\n1,CCO\n2,CCCl\n"))
    ledger = run(library, table).ledger
    assert (ledger.rows, ledger.molecules, ledger.duplicates, ledger.invalid) == (12, 6, 3, 3)


def test_limit_takes_the_first_rows(run, library: Path) -> None:
    ledger = run(library, limit=4).ledger
    assert (ledger.rows, ledger.molecules, ledger.duplicates, ledger.invalid) == (4, 2, 1, 1)


def test_rows_that_are_no_molecule_leave_letters_with_file_row_and_reason(
    run, library: Path, store: Store, spec: Spec
) -> None:
    run(library)
    letters = {letter.row: letter for letter in dead_letters(store, spec)}
    assert set(letters) == {4, 6, 7}
    assert {letter.stage for letter in letters.values()} == {"parse"}
    assert all(letter.source == str(library) for letter in letters.values())
    assert letters[4].message == "The row is empty."
    assert "cannot be read by RDKit" in letters[6].message
    assert "not UTF-8" in letters[7].message


def test_unusual_rows_cost_no_other_row(run, tmp_path: Path, store: Store, spec: Spec) -> None:
    path = tmp_path / "odd.smi"
    many_atoms = "C" * 300
    odd = ["SMILES name", "C" * 5_000, many_atoms, "[Na+].[Cl-] salt", "CN(C)(C)(C)C", "CCO\tethanol"]
    path.write_text("\n".join(odd) + "\n")
    ledger = run(path).ledger
    assert (ledger.rows, ledger.invalid, ledger.accepted) == (6, 3, 3)
    reasons = {letter.row: letter.message for letter in dead_letters(store, spec)}
    assert reasons[1] == "The row looks like a header line."
    assert "5,000 bytes" in reasons[2]
    assert "Explicit valence" in reasons[5]


def test_cut_off_answer_is_tried_again_with_more_tokens(run, tmp_path: Path, store: Store, spec: Spec) -> None:
    path = tmp_path / "one.smi"
    path.write_text("CCO\n")
    ledger = run(path, script=Script(cut_off={"CCO": 2})).ledger
    ((_, record),) = store.records(spec.id)
    assert (ledger.accepted, record.attempts, record.max_tokens) == (1, 3, 200)


def test_answers_that_stay_invalid_become_a_dead_letter(run, library: Path, store: Store, spec: Spec) -> None:
    script = Script(nonsense=frozenset({"CCO"}), cut_off={"CCN": 9}, rejected=frozenset({"CC#N"}))
    ledger = run(library, script=script).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (2, 3, 0)
    letters = {letter.smiles: letter for _, letter in store.dead_letters(spec.id)}
    assert (letters["CCO"].stage, letters["CCO"].attempts, letters["CCO"].text) == ("schema", 3, "nonsense")
    assert (letters["CCN"].stage, letters["CCN"].attempts) == ("finish", 3)
    assert (letters["CC#N"].stage, letters["CC#N"].attempts) == ("prompt", 0)


def test_dead_molecules_are_left_alone_until_they_are_retried(run, library: Path, store: Store, spec: Spec) -> None:
    run(library, script=Script(nonsense=frozenset({"CCO"})))
    assert run(library).ledger.new == 0
    assert store.retry_dead(spec.id) == 1
    ledger = run(library).ledger
    assert (ledger.accepted, ledger.dead, ledger.new) == (5, 0, 1)


def test_molecule_that_kills_the_engine_dies_alone(
    run, library: Path, store: Store, spec: Spec, tmp_path: Path
) -> None:
    script = Script(poison=frozenset({"CCN"}), starts=tmp_path / "starts")
    ledger = run(library, script=script).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (4, 1, 0)
    ((_, letter),) = store.dead_letters(spec.id)
    assert (letter.smiles, letter.stage, letter.error) == ("CCN", "engine", "EngineDeadError")
    assert "each of the 4 times" in letter.message and "the scripted engine died" in letter.message


def test_molecules_that_kill_the_engine_in_every_batch_cost_nobody_else(
    run, store: Store, spec: Spec, tmp_path: Path
) -> None:
    """While a suspect is tried, batches of others kill the engine too."""
    path = tmp_path / "chains.smi"
    chains = ["C" * length + end for length in range(1, 201) for end in ("", "F", "Cl", "Br")]
    path.write_text("\n".join(chains))
    poison = frozenset(chains[20::61])
    ledger = run(path, script=Script(poison=poison, delay=0.0005)).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (len(chains) - len(poison), len(poison), 0)
    assert {letter.smiles for _, letter in store.dead_letters(spec.id)} == poison


def test_who_was_lost_more_often_is_tried_later(run, store: Store, spec: Spec, tmp_path: Path) -> None:
    path = tmp_path / "library.smi"
    path.write_text("CCO\nCCN\nCCC\n")
    losses = {"CCO": 3, "CCN": 2, "CCC": 2}
    rows = [Row(key_of(smiles), 0, number) for number, smiles in enumerate(losses, 1)]
    store.register(spec.id, "before", rows)
    for row, often in zip(rows, losses.values(), strict=True):
        lose(store, spec, "before", row.key, often)
    ledger = run(path, script=Script(requests=tmp_path / "requests")).ledger
    assert ledger.accepted == 3
    assert (tmp_path / "requests").read_text().split() == ["CCN", "CCC", "CCO"]


def test_starts_that_fail_and_runs_that_are_interrupted_count_against_no_molecule(
    run, store: Store, spec: Spec, tmp_path: Path
) -> None:
    """Ten molecules with one cut-off answer each were dead after three failed starts, once."""
    path = tmp_path / "alkanes.smi"
    alkanes = ["C" * number for number in range(1, 11)]
    path.write_text("\n".join(alkanes))
    for _ in range(3):
        with pytest.raises(EngineStartError):
            run(path, script=Script(start_error="out of memory"))
        stopped = Run(store, spec, [str(path)], None, time.time())
        store.claim(spec.id, stopped.id, [key_of(smiles) for smiles in alkanes], "claim")
        store.hand(spec.id, stopped.id, [(key_of(smiles), "claim") for smiles in alkanes])
        stopped.end("interrupted")
    ledger = run(path, script=Script(cut_off=dict.fromkeys(alkanes, 2))).ledger
    assert (ledger.accepted, ledger.dead) == (10, 0)


def lose(store: Store, spec: Spec, run: str, key: bytes, often: int) -> None:
    """Let a molecule be lost in an engine's hands, so many times."""
    for number in range(often):
        store.claim(spec.id, run, [key], f"claim-{number}")
        store.hand(spec.id, run, [(key, f"claim-{number}")])


def test_what_nobody_foresaw_about_one_molecule_costs_that_molecule_at_most(
    run, library: Path, store: Store, spec: Spec
) -> None:
    ledger = run(library, script=Script(unforeseen={"CCO": 2, "CCN": 9})).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (4, 1, 0)
    ((_, letter),) = store.dead_letters(spec.id)
    assert (letter.smiles, letter.stage, letter.error, letter.attempts) == ("CCN", "engine", "UnforeseenError", 3)
    assert letter.message == "no such tensor"


def test_a_request_that_is_never_answered_costs_that_molecule_at_most(
    run, library: Path, store: Store, spec: Spec
) -> None:
    ledger = run(library, script=Script(unanswered=frozenset({"CCN"})), request_seconds=0.5).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (4, 1, 0)
    ((_, letter),) = store.dead_letters(spec.id)
    assert letter.smiles == "CCN"


def test_an_engine_that_answers_nothing_any_more_is_replaced(
    run, library: Path, store: Store, spec: Spec, tmp_path: Path
) -> None:
    script = Script(stunning=frozenset({"CCN"}), starts=tmp_path / "starts")
    ledger = run(library, script=script, request_seconds=0.5).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (4, 1, 0)
    ((_, letter),) = store.dead_letters(spec.id)
    assert (letter.smiles, letter.error) == ("CCN", "EngineDeadError")
    assert "has answered nothing for 0.5 s" in letter.message
    assert len((tmp_path / "starts").read_text().splitlines()) == 4  # it was started anew, but after the last death


def test_molecule_that_kills_the_worker_dies_alone(run, library: Path, store: Store, spec: Spec) -> None:
    ledger = run(library, script=Script(deadly=frozenset({"CCN"}))).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (4, 1, 0)
    ((_, letter),) = store.dead_letters(spec.id)
    assert (letter.smiles, letter.stage, letter.error) == ("CCN", "engine", "WorkerDiedError")


def test_too_many_dead_letters_stop_the_run(run, tmp_path: Path, store: Store) -> None:
    path = tmp_path / "alkanes.smi"
    path.write_text("".join(f"{'C' * number}\n" for number in range(1, 301)))
    script = Script(nonsense=frozenset("C" * number for number in range(1, 301)), delay=0.05)
    with pytest.raises(TooManyDeadError, match=r"more than --max-dead 3 allows"):
        run(path, script=script, max_attempts=1, limits=RunLimits(max_dead=3))
    (facts,) = store.runs().values()
    assert facts["state"] == "failed" and "--max-dead 3" in facts["reason"]
    assert run(path).ledger.pending == 0


def test_too_great_a_share_of_dead_letters_stops_the_run(run, tmp_path: Path) -> None:
    path = tmp_path / "alkanes.smi"
    path.write_text("".join(f"{'C' * number}\n" for number in range(1, 401)))
    script = Script(nonsense=frozenset("C" * number for number in range(1, 401)), delay=0.04)
    with pytest.raises(LimitError, match=r"more than --max-error-rate 0\.5 allows"):
        run(path, script=script, max_attempts=1, limits=RunLimits(max_error_rate=0.5))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A web server with the files of `tmp_path`; its URL holds a password."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://somebody:Sekret@127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_password_of_a_librarys_url_is_kept_nowhere(run, served: str, tmp_path: Path, store: Store) -> None:
    (tmp_path / "library.smi").write_text("CCO\nnothing\nCCN\n")
    ledger = run(f"{served}/library.smi").ledger
    assert (ledger.accepted, ledger.invalid) == (2, 1)
    (facts,) = store.runs().values()
    assert [source.startswith("http://***@127.0.0.1:") for source in facts["sources"]] == [True]
    kept = [store._redis.dump(key) for key in store._redis.scan_iter(count=1000)]
    assert not any(b"Sekret" in value for value in kept)
    assert [letter.source for letter in store.invalid_letters(next(iter(store.runs())))] == facts["sources"]


def test_rows_without_a_molecule_count_as_dead_letters(run, tmp_path: Path, store: Store) -> None:
    path = tmp_path / "some.smi"
    path.write_text("CCO\nnonsense\n\nCCN\n")
    with pytest.raises(TooManyDeadError, match=r"2 dead letters \(2 rows without a molecule\), more than --max-dead 1"):
        run(path, limits=RunLimits(max_dead=1))
    assert run(path, limits=RunLimits(max_dead=2)).ledger.accepted == 2


def test_too_many_rows_without_a_molecule_stop_the_run(run, tmp_path: Path) -> None:
    path = tmp_path / "names.smi"
    path.write_text("CCO\n" + "aspirin\n" * 250)
    with pytest.raises(LimitError, match=r"250 of the first 251 rows hold no molecule, more than --max"):
        run(path, limits=RunLimits(max_error_rate=0.9))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("", r"There is no row in .*empty.smi: name another file\."),
        ("aspirin\n\n", "None of the 2 rows of .*empty.smi"),
    ],
)
def test_a_library_without_a_molecule_is_a_failure(run, tmp_path: Path, store: Store, rows: str, told: str) -> None:
    path = tmp_path / "empty.smi"
    path.write_text(rows)
    with pytest.raises(NoMoleculeError, match=told) as failure:
        run(path, limits=RunLimits(max_dead=0))
    assert failure.value.exit_code == 1
    (facts,) = store.runs().values()
    assert facts["state"] == "failed"


def test_a_run_in_which_nothing_happens_is_stopped(store: Store, ray_address: str, library: Path) -> None:
    """In a process of its own: Ray Data keeps an annotator that has not yet answered until its driver ends.

    And in the background of a script, where a process inherits that Ctrl-C is ignored.
    """
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "tests.support.drive"]
    stalled = [*command, str(library), store.url, "--ray", ray_address, "--delay", "60", "--stall-minutes", "0.05"]
    done = subprocess.run(stalled, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode != 0
    assert "gallon: Stopped: nothing has happened for 0.05 minutes" in done.stderr


def test_two_runs_at_the_same_time_share_the_work(run, tmp_path: Path, store: Store, spec: Spec) -> None:
    """The other run is stood in for by what it leaves in the store, a heartbeat and claims; a third one lives on."""
    path = tmp_path / "alkanes.smi"
    path.write_text("".join(f"{'C' * number}\n" for number in range(1, 101)))
    rows = [Row(key_of("C" * number), 0, number) for number in range(1, 51)]
    store.register(spec.id, "other", rows)
    for alive in ("other", "third"):
        store.heartbeat(alive, spec.id, ELSEWHERE, 600)
    store.claim(spec.id, "other", [row.key for row in rows], "claim")
    requests = tmp_path / "requests"

    def die_when_the_rest_is_done() -> None:
        while store.counts(spec.id).accepted < 50:
            time.sleep(0.1)
        store.stop_heartbeat("other")

    threading.Thread(target=die_when_the_rest_is_done, daemon=True).start()
    ledger = run(path, script=Script(requests=requests)).ledger

    assert (ledger.accepted, ledger.pending, ledger.new) == (100, 0, 100)
    asked = [len(line) for line in requests.read_text().splitlines()]
    assert min(asked[:50]) > 50 and sorted(asked) == list(range(1, 101))


def test_engine_that_does_not_start_ends_the_run_with_its_reason(run, library: Path, store: Store, spec: Spec) -> None:
    with pytest.raises(EngineStartError, match="no kernel image"):
        run(library, script=Script(start_error="no kernel image"))
    counts = store.counts(spec.id)
    assert (counts.accepted, counts.dead, counts.pending) == (0, 0, 5)
    assert [facts["state"] for facts in store.runs().values()] == ["failed"]


def test_run_that_ends_early_ends_the_reading_of_its_library(run) -> None:
    """What Ray Data had begun ended with the process, after Ray, and wrote a traceback below the one sentence."""
    with pytest.raises(EngineStartError):
        run(Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi", script=Script(start_error="no kernel image"))
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("StreamingExecutor")] == []


def test_answers_below_the_least_grounding_are_refused(run, library: Path, spec: Spec, store: Store) -> None:
    strict = spec.model_copy(update={"min_grounding": 0.9, "image_size": 64})
    ledger = run(library, spec=strict).ledger
    assert (ledger.accepted, ledger.dead) == (5, 0)
    assert all(record.grounding.score >= 0.9 for _, record in store.records(strict.id))


def test_two_specs_keep_both_sets_of_records(run, library: Path, spec: Spec, store: Store) -> None:
    other = spec.model_copy(update={"graph": False})
    assert other.id != spec.id
    run(library)
    assert run(library, spec=other).ledger.new == 5
    assert [store.counts(each.id).accepted for each in (spec, other)] == [5, 5]


def test_pool_of_several_annotators_finishes_every_row(run, tmp_path: Path) -> None:
    path = tmp_path / "chains.smi"
    path.write_text("".join("C" * length + "O\n" for length in range(1, 301)))
    ledger = run(path, pool=Pool(workers=2, cpus=0.5, concurrency=8)).ledger
    assert (ledger.rows, ledger.accepted, ledger.pending) == (300, 300, 0)


def test_an_audit_finds_nothing_wrong_and_notices_what_was_tampered_with(
    run, library: Path, store: Store, spec: Spec
) -> None:
    run(library, script=Script(cut_off={"CCO": 1}))
    assert list(audit(store, spec.id)) == []

    records = dict(store.records(spec.id))
    key = key_of("CCO")
    for changed, message in [
        (replace(records[key], smiles="CCN"), "is about another molecule: CCN"),
        (replace(records[key], text="{}"), "should not have been accepted"),
        (replace(records[key], finish_reason="length"), "cut off"),
        (replace(records[key], max_tokens=7), "was sampled in another way"),
        (replace(records[key], run="nobody's"), "names the run nobody's"),
        (replace(records[key], software="unheard-of"), "names the software unheard-of"),
    ]:
        store._redis.hset(f"gallon:{{{key[0]:02x}}}:{spec.id}:accepted", key, changed.pack())
        (defect,) = audit(store, spec.id)
        assert defect.key == key and message in defect.message
    store._redis.hset(f"gallon:{{{key[0]:02x}}}:{spec.id}:accepted", key, b"damaged")
    (defect,) = audit(store, spec.id)
    assert "cannot be read" in defect.message


def test_verify_agrees_with_the_run_and_notices_a_lost_record(run, library: Path, store: Store, spec: Spec) -> None:
    run(library)
    verdict = verify(resolve([str(library)]), limit=None, spec_id=spec.id, store=store)
    assert verdict.ok
    assert (verdict.rows, verdict.molecules, verdict.invalid, verdict.accepted) == (10, 5, 3, 5)
    key, _ = next(store.records(spec.id))
    store._redis.hdel(f"gallon:{{{key[0]:02x}}}:{spec.id}:accepted", key)
    verdict = verify(resolve([str(library)]), limit=None, spec_id=spec.id, store=store)
    assert (verdict.ok, verdict.missing) == (False, 1)


def test_redis_that_evicts_keys_is_refused_before_anything_starts(run, library: Path, store: Store) -> None:
    store._redis.config_set("maxmemory", "1gb")
    store._redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreError, match="noeviction"):
            run(library)
    finally:
        store._redis.config_set("maxmemory", "0")
        store._redis.config_set("maxmemory-policy", "noeviction")
    assert store.runs() == {}


def test_full_redis_ends_the_run_and_the_same_call_resumes(run, library: Path, store: Store) -> None:
    store._redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreError, match="full"):
            run(library)
    finally:
        store._redis.config_set("maxmemory", "0")
    assert run(library).ledger.accepted == 5
