"""The pool of annotators, on GPUs that Ray believes in, with the scripted engine."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.annotation.pool import Pool
from cluster.runs.status import status
from cluster.runs.workers import SIGN_SECONDS, gpu_seconds
from cluster.store.keys import workers_key
from cluster.store.store import Store
from cluster.store.stored import ledger_of
from teacher.errors import EngineStartError
from teacher.llm.spec import Spec
from tests.support.gpus import FAKE_GPUS
from tests.support.scripted import Script

ROWS = 1_000
WORKER = {"engine": "ready", "in_flight": 0, "accepted": 0, "dead": 0, "deaths": 0, "errors": []}
GPU = Pool(workers=FAKE_GPUS, cpus=0.1, gpus=1, concurrency=16)


@pytest.fixture
def alkanols(tmp_path: Path) -> Path:
    """Sixteen batches of distinct molecules: more than two annotators take at once."""
    path = tmp_path / "alkanols.smi"
    path.write_text("".join(f"{'C' * (number % 50 + 1)}OC{'C' * (number // 50)}N\n" for number in range(ROWS)))
    return path


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return tmp_path / "answers"


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    return tmp_path / "starts"


def workers(answers: Path) -> Counter[str]:
    """Count the answers of each process, with the GPUs that it was given."""
    return Counter(answers.read_text().splitlines())


def test_every_worker_of_a_gpu_pool_annotates_on_a_gpu_of_its_own(
    run, alkanols: Path, answers: Path, starts: Path
) -> None:
    ledger = run(alkanols, script=Script(answers=answers, starts=starts, together=FAKE_GPUS), pool=GPU).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (ROWS, 0, 0)
    assert sorted(line.split()[1] for line in workers(answers)) == [str(gpu) for gpu in range(FAKE_GPUS)]
    assert min(workers(answers).values()) >= 64  # a batch at least


def test_a_gpu_pool_shares_even_a_small_library(run, tmp_path: Path, answers: Path, starts: Path) -> None:
    """The first to be ready does not take all that there is."""
    path = tmp_path / "alkanes.smi"
    path.write_text("".join(f"{'C' * number}\n" for number in range(1, 65)))
    ledger = run(path, script=Script(answers=answers, starts=starts, together=FAKE_GPUS), pool=GPU).ledger
    assert ledger.accepted == 64
    assert sorted(workers(answers).values()) == [16, 16, 16, 16]


def test_a_gpu_pool_of_more_workers_than_gpus_uses_all_gpus(run, alkanols: Path, answers: Path, starts: Path) -> None:
    script = Script(answers=answers, starts=starts, together=FAKE_GPUS)
    ledger = run(alkanols, script=script, pool=replace(GPU, workers=FAKE_GPUS + 3)).ledger
    assert (ledger.accepted, ledger.pending) == (ROWS, 0)
    assert len(workers(answers)) == FAKE_GPUS


def test_a_gpu_pool_with_two_gpus_an_engine_has_half_as_many_engines(
    run, alkanols: Path, answers: Path, starts: Path
) -> None:
    script = Script(answers=answers, starts=starts, together=FAKE_GPUS // 2)
    ledger = run(alkanols, script=script, pool=replace(GPU, gpus=2)).ledger
    assert (ledger.accepted, ledger.pending) == (ROWS, 0)
    assert sorted(line.split()[1] for line in workers(answers)) == ["0,1", "2,3"]


def test_a_gpu_pool_does_without_a_gpu_whose_engine_does_not_start(
    run, alkanols: Path, answers: Path, store: Store, spec: Spec
) -> None:
    script = Script(answers=answers, start_error="uncorrectable ECC error", broken_gpus=frozenset("1"))
    warnings: list[str] = []
    ledger = run(alkanols, script=script, pool=GPU, start_waits=(0.1, 0.1), warn=warnings.append).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (ROWS, 0, 0)
    assert {line.split()[1] for line in workers(answers)} == {"0", "2", "3"}
    (warning,) = warnings
    assert "GPU 1" in warning and "uncorrectable ECC error" in warning and "3 of 4 annotators" in warning
    assert {record.attempts for _, record in store.records(spec.id)} == {1}


def test_the_only_batch_of_a_gpu_pool_goes_to_the_next_gpu_where_the_first_is_broken(
    run, tmp_path: Path, answers: Path
) -> None:
    path = tmp_path / "one.smi"
    path.write_text("CCO\n")
    script = Script(answers=answers, start_error="out of memory", broken_gpus=frozenset("012"))
    ledger = run(path, script=script, pool=replace(GPU, workers=FAKE_GPUS + 2)).ledger
    assert (ledger.accepted, ledger.pending) == (1, 0)


def test_a_gpu_pool_without_any_engine_ends_the_run_and_counts_nothing(
    run, alkanols: Path, starts: Path, store: Store, spec: Spec
) -> None:
    script = Script(start_error="CUDA driver is too old", starts=starts)
    for _ in range(3):
        with pytest.raises(EngineStartError, match=r"No engine on .* \(GPU \d\): CUDA driver is too old"):
            run(alkanols, script=script, pool=GPU, start_waits=(0.0,))
    assert len(starts.read_text().splitlines()) == 3 * FAKE_GPUS * 2
    assert store.counts(spec.id).dead == 0
    run(alkanols, script=Script(cut_off={"COCN": 2}), pool=GPU)
    assert (store.counts(spec.id).accepted, store.counts(spec.id).dead) == (ROWS, 0)


def test_a_gpu_pool_waits_for_an_engine_that_starts_at_the_second_try(run, alkanols: Path, starts: Path) -> None:
    script = Script(start_error="429 Too Many Requests", starts=starts, failing_starts=1)
    ledger = run(alkanols, script=script, pool=replace(GPU, workers=1), start_waits=(0.1,)).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (ROWS, 0, 0)


def test_a_gpu_pool_gives_the_work_of_a_worker_that_died_to_the_others(
    run, alkanols: Path, answers: Path, store: Store, spec: Spec
) -> None:
    deadly = frozenset({"COCN", "CCOCCN"})
    ledger = run(alkanols, script=Script(answers=answers, deadly=deadly, delay=0.001), pool=GPU).ledger
    assert (ledger.accepted, ledger.dead, ledger.pending) == (ROWS - 2, 2, 0)
    assert {letter.smiles for _, letter in store.dead_letters(spec.id)} == deadly


def test_the_ledger_says_for_how_long_gpus_were_held(run, tmp_path: Path, store: Store) -> None:
    path = tmp_path / "alkanes.smi"
    path.write_text("".join(f"{'C' * number}\n" for number in range(1, 65)))
    held = run(path, pool=replace(GPU, gpus=2, workers=1)).ledger
    assert held.gpu_seconds is not None and 0 < held.gpu_seconds <= 2 * held.seconds
    (told,) = status(store)["runs"]
    assert told["gpu_seconds"] == held.gpu_seconds
    assert run(path, pool=replace(GPU, gpus=0)).ledger.gpu_seconds is None  # nothing was left to do


def test_workers_that_are_gone_are_counted_up_to_their_last_sign(store: Store) -> None:
    long_ago = json.dumps(WORKER | {"gpus": 2.0, "seconds": 100.0, "time": 1.0})
    store._redis.hset(workers_key("run"), "gone", long_ago)
    store.save_worker_status("run", "without GPUs", WORKER | {"gpus": 0.0, "seconds": 100.0})
    store.save_worker_status("run", "of an older gallon", WORKER | {"gpus": 1.0})
    held = gpu_seconds(store, "run")
    assert held == 2 * (100 + SIGN_SECONDS)
    store.save_worker_status("run", "forged", {"gpus": "many"})
    assert gpu_seconds(store, "run") is None
    assert gpu_seconds(store, "another run") is None


def test_a_ledger_of_an_older_gallon_is_read() -> None:
    assert ledger_of({"ledger": {"rows": 3, "seconds": 1.0}}).gpu_seconds is None
