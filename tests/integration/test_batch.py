"""A provider's batch API: what goes out is what an endpoint would be asked, and what comes back is never believed."""

from __future__ import annotations

import base64
import functools
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import gallon
from cluster.records import batch_reader, batch_writer
from cluster.records.batch import batch_path
from cluster.records.integrity import audit
from cluster.store.store import Store
from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.chemistry.drawing import SafeDrawer
from teacher.llm.models import local_path
from tests.support.command import CommandHere
from tests.support.provider import (
    MODEL_CLAIMED,
    answer,
    completed,
    custom_id,
    failed,
    read_requests,
    smiles_in,
)
from tests.support.scripted import true_answer
from tests.support.server import KEY, MODEL, Behaviour, serving

SMILES = ("CCO", "CCN", "CCS", "CC=O", "CC#N")
Write = Callable[..., gallon.WrittenBatch]
BLIND = {"model": MODEL, "image": False}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    file = tmp_path / "library.smi"
    file.write_text("".join(f"{smiles}\n" for smiles in (*SMILES, "OCC", "nothing")))
    return file


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    return tmp_path / "requests.jsonl"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def write(library: Path, requests: Path, redis_url: str, store: Store) -> Write:
    """Write a batch without pictures, over what was written before."""

    def write_it(**options: Any) -> gallon.WrittenBatch:
        return gallon.write_batch(library, requests, store=redis_url, overwrite=True, **{**BLIND, **options})

    return write_it


def test_a_library_goes_out_and_comes_back_as_records(
    write: Write, requests: Path, results: Path, store: Store, redis_url: str
) -> None:
    written = write()
    assert (written.rows, written.molecules, written.duplicates, written.invalid) == (7, 5, 1, 1)
    assert (written.requests, written.files) == (5, (requests,))
    answer([requests], results)
    read = gallon.read_batch(results, requests, store=redis_url)
    ledger = read.ledger
    assert (ledger.rows, ledger.molecules, ledger.accepted, ledger.dead, ledger.pending) == (5, 5, 5, 0, 0)
    assert (ledger.new, ledger.prompt_tokens, ledger.completion_tokens) == (5, 500, 100)
    assert (read.unanswered, read.broken, read.unknown, read.models) == (0, 0, 0, {MODEL_CLAIMED: 5})
    assert {record.smiles: record.text for _, record in store.records(read.spec)} == {
        smiles: true_answer(smiles) for smiles in SMILES
    }
    assert not list(audit(store, read.spec))
    ((_, record), *_) = store.records(read.spec)
    made_by = store.software(record.software)
    assert (made_by["claimed model"], made_by["claimed system_fingerprint"]) == (MODEL_CLAIMED, "fp_1")


def test_the_spec_and_the_questions_are_those_of_a_server(
    library: Path, requests: Path, redis_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALLON_ENDPOINT_KEY", KEY)
    written = gallon.write_batch(library, requests, model=MODEL, store=redis_url)
    behaviour = Behaviour()
    with serving(behaviour) as url:
        assert resolve_spec(SpecConfig(model=MODEL, endpoint=url)).spec.id == written.spec
        gallon.describe(SMILES, model=MODEL, endpoint=url)
    lines = read_requests(requests)
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert [line["custom_id"] for line in lines] == [custom_id(smiles) for smiles in SMILES]
    assert [line["body"] for line in lines] == sorted(behaviour.asked, key=lambda body: SMILES.index(_smiles(body)))
    (picture,) = [part for part in lines[0]["body"]["messages"][-1]["content"] if part["type"] == "image_url"]
    kind, data = picture["image_url"]["url"].split(",", 1)
    assert kind == "data:image/png;base64" and Image.open(io.BytesIO(base64.b64decode(data))).size == (448, 448)


def test_the_longest_answer_goes_by_the_name_that_the_model_knows(write: Write, requests: Path) -> None:
    usual = write()
    bodies = [line["body"] for line in read_requests(requests)]
    newer = write(token_field="max_completion_tokens")
    assert newer.spec == usual.spec
    for body in bodies:
        body["max_completion_tokens"] = body.pop("max_tokens")
    assert [line["body"] for line in read_requests(requests)] == bodies


def test_a_name_for_the_longest_answer_that_no_model_knows_is_refused(write: Write, requests: Path) -> None:
    with pytest.raises(gallon.UsageError, match="--token-field is max_tokens or max_completion_tokens, and not 'x'"):
        write(token_field="x")
    assert not requests.exists()


def _smiles(body: dict[str, Any]) -> str:
    return smiles_in({"body": body})


def test_reading_again_changes_nothing(write: Write, requests: Path, results: Path, redis_url: str) -> None:
    write()
    answer([requests], results, {"CCN": lambda line: completed(line, "no JSON")})
    first, again = (gallon.read_batch(results, requests, store=redis_url).ledger for _ in range(2))
    assert (first.accepted, first.dead, first.new, first.new_dead) == (4, 1, 4, 1)
    assert (again.accepted, again.dead, again.new, again.new_dead) == (4, 1, 0, 0)
    assert (again.prompt_tokens, again.completion_tokens) == (0, 0)


def test_every_fault_costs_its_own_molecule_and_is_counted(
    write: Write, requests: Path, results: Path, store: Store, redis_url: str
) -> None:
    write()
    lines = answer(
        [requests],
        results,
        {
            "CCN": lambda line: completed(line, true_answer("CCN")[:9], "length"),
            "CCS": lambda line: failed(line, None, "batch_expired"),
            "CC=O": lambda line: failed(line, 400, "invalid_request"),
            "CC#N": lambda line: completed(line, None, refusal="I would rather not."),  # type: ignore[arg-type]
        },
    )
    (good,) = [line for line in lines if line["custom_id"] == custom_id("CCO")]
    stranger = {**good, "custom_id": custom_id("CCCCC")}
    surrogate = json.dumps(good).replace("CCO", r"\ud800")
    with results.open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in (stranger, good, [], {"custom_id": 1})))
        file.write(f"{surrogate}\n\n" + json.dumps(good)[:100])
    read = gallon.read_batch(results, requests, store=redis_url)
    assert (read.broken, read.unknown, read.unanswered) == (4, 1, 0)
    ledger = read.ledger
    assert (ledger.rows, ledger.molecules, ledger.duplicates, ledger.invalid) == (11, 5, 1, 5)
    assert (ledger.accepted, ledger.dead) == (1, 4)
    letters = {letter.smiles: letter for _, letter in store.dead_letters(read.spec)}
    assert {smiles: letter.stage for smiles, letter in letters.items()} == {
        "CCN": "finish",
        "CCS": "engine",
        "CC=O": "prompt",
        "CC#N": "engine",
    }
    assert "batch_expired" in letters["CCS"].message and "I would rather not." in letters["CC#N"].message
    assert {letter.source for letter in letters.values()} == {str(results)}
    assert len(list(store.invalid_letters(read.run))) == 5


def test_what_is_left_is_written_again_as_a_run_would_retry_it(
    write: Write, requests: Path, results: Path, store: Store, redis_url: str
) -> None:
    write()
    answer(
        [requests],
        results,
        {
            "CCN": lambda line: completed(line, "{", "length"),
            "CCS": lambda line: failed(line, 500, "server_error"),
            "CC=O": lambda line: failed(line, 400, "invalid_request"),
        },
    )
    gallon.read_batch(results, requests, store=redis_url)
    left = write()
    assert (left.requests, left.retries, left.accepted, left.dead) == (2, 1, 2, 1)
    bodies = {smiles_in(line): line["body"] for line in read_requests(requests)}
    longest = resolve_spec(SpecConfig(**BLIND), claimed=True).spec.sampling
    assert longest is not None
    assert (bodies["CCN"]["seed"], bodies["CCN"]["temperature"]) == (1, 0.5)
    assert bodies["CCN"]["max_tokens"] == round(1.5 * longest.max_tokens)
    assert (bodies["CCS"]["temperature"], bodies["CCS"]["max_tokens"]) == (0.0, longest.max_tokens)
    answer([requests], results, {"CCN": lambda line: completed(line, "{")})
    again = gallon.read_batch(results, requests, store=redis_url)
    assert (again.ledger.accepted, again.ledger.dead, again.ledger.new) == (1, 1, 1)
    assert [record.attempts for _, record in store.records(again.spec)] == [1] * 3
    sent = requests.read_text()
    nothing = write(max_attempts=2)
    assert (nothing.requests, nothing.dead, nothing.files, requests.read_text()) == (0, 2, (), sent)
    assert write(everything=True).requests == 5


def test_a_better_answer_replaces_a_dead_letter_and_no_answer_a_record(
    write: Write, requests: Path, results: Path, store: Store, redis_url: str
) -> None:
    write()
    (asked,) = [line for line in read_requests(requests) if smiles_in(line) == "CCO"]
    texts = ["{", true_answer("CCO"), true_answer("CCO").replace("A molecule", "Another molecule")]
    results.write_text("".join(json.dumps(completed(asked, text)) + "\n" for text in texts))
    read = gallon.read_batch(results, requests, store=redis_url)
    assert (read.ledger.rows, read.ledger.duplicates, read.ledger.accepted, read.ledger.dead) == (3, 2, 1, 0)
    assert read.unanswered == 4
    ((_, record),) = store.records(read.spec)
    assert record.text == texts[1]


def test_the_versions_of_what_checks_answers_are_looked_up_once(
    write: Write, requests: Path, results: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = []
    monkeypatch.setattr(batch_reader, "installed", lambda names: looked_up.append(names) or {"rdkit": "1"})
    write()
    answer([requests], results)
    assert gallon.read_batch(results, requests, store=redis_url).ledger.accepted == 5
    assert len(looked_up) == 1


def test_a_reading_that_nobody_foresaw_the_end_of_is_no_lost_run(
    write: Write, requests: Path, results: Path, store: Store, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    answer([requests], results)
    monkeypatch.setattr(batch_reader.AnswerStore, "take", functools.partial(_raise, SystemError("a disk is gone")))
    with pytest.raises(SystemError):
        gallon.read_batch(results, requests, store=redis_url)
    (facts,) = store.runs().values()
    assert (facts["state"], facts["reason"]) == ("failed", "It ended by SystemError: a disk is gone")


def _raise(error: Exception, *_: object) -> None:
    raise error


def test_an_answer_that_is_too_long_to_be_read_is_told_as_that(
    write: Write, requests: Path, results: Path, store: Store, redis_url: str
) -> None:
    write()
    answer([requests], results, {"CCN": lambda line: completed(line, "x" * 2**20)})
    read = gallon.read_batch(results, requests, store=redis_url)
    assert (read.ledger.accepted, read.broken, read.unanswered) == (4, 1, 1)
    (letter,) = store.invalid_letters(read.run)
    assert letter.message == "The line is no answer: it is longer than 1 MiB."


def test_files_keep_to_the_limits_and_are_read_together(
    write: Write, requests: Path, results: Path, tmp_path: Path, redis_url: str
) -> None:
    written = write(max_requests=2)
    assert [path.name for path in written.files] == ["requests.jsonl", "requests-2.jsonl", "requests-3.jsonl"]
    assert [len(read_requests(path)) for path in written.files] == [2, 2, 1]
    size = max(len(line) + 1 for line in requests.read_text().splitlines())
    two = write(max_bytes=3 * size)
    assert all(path.stat().st_size <= 3 * size for path in two.files)
    assert [path.name for path in two.files] == ["requests.jsonl", "requests-2.jsonl"]
    assert not (tmp_path / "requests-3.jsonl").exists()
    answer(two.files, results)
    assert gallon.read_batch([results], requests, store=redis_url).ledger.accepted == 5
    with pytest.raises(gallon.UsageError, match="raise --max-bytes"):
        write(max_bytes=100, everything=True)


def test_files_that_are_there_are_not_replaced_unasked(library: Path, requests: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {**BLIND, "store": tmp_path / "store", "max_requests": 2}
    foreign = tmp_path / "requests-2.jsonl"
    foreign.write_text("of somebody else\n")
    with pytest.raises(gallon.UsageError, match=r"requests-2\.jsonl exists already"):
        gallon.write_batch(library, requests, **options)
    assert not requests.exists() and not batch_path(requests).exists()
    assert foreign.read_text() == "of somebody else\n"
    gallon.write_batch(library, requests, **{**options, "max_requests": 5})
    with pytest.raises(gallon.UsageError, match=r"requests\.jsonl exists already"):
        gallon.write_batch(library, requests, **options)
    assert not (tmp_path / "store").exists()


def test_a_molecule_that_kills_rdkit_costs_its_own_request(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    deadly = functools.partial(SafeDrawer, module="tests.support.deadly_drawer")  # over C, C and O
    monkeypatch.setattr(batch_writer, "SafeDrawer", deadly)
    written = write(image=True)
    assert (written.molecules, written.requests, written.undrawn) == (5, 3, 2)


def test_answers_to_another_batch_are_refused(
    write: Write, library: Path, requests: Path, results: Path, tmp_path: Path, store: Store, redis_url: str
) -> None:
    write()
    with pytest.raises(gallon.LibraryError, match="None of 5 lines"):
        gallon.read_batch(requests, requests, store=redis_url)
    answer([requests], results)
    with pytest.raises(gallon.UsageError, match="name the requests"):
        gallon.read_batch(results, tmp_path / "others.jsonl", store=redis_url)
    kept = batch_path(requests).read_text().splitlines(keepends=True)
    for damaged in (kept[:-1], kept[1:], [*kept[:2], *kept[3:]], ["{}\n"], []):
        batch_path(requests).write_text("".join(damaged))
        with pytest.raises(gallon.UsageError, match="Write the batch again"):
            gallon.read_batch(results, requests, store=redis_url)
    assert all(store.counts(spec).accepted == 0 for spec in store.specs())


def test_what_a_damaged_file_still_has_is_stored(
    write: Write, requests: Path, results: Path, tmp_path: Path, redis_url: str
) -> None:
    import zstandard

    write()
    answer([requests], results)
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    *whole, last = results.read_bytes().splitlines(keepends=True)
    frame = b"".join(packer.compress(line) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for line in whole)
    packed = tmp_path / "results.jsonl.zst"
    packed.write_bytes(frame + packer.compress(last))
    with pytest.raises(gallon.LibraryError, match=r"results\.jsonl\.zst cannot be read"):
        gallon.read_batch(packed, requests, store=redis_url)
    read = gallon.read_batch(results, requests, store=redis_url)
    assert (read.ledger.accepted, read.ledger.new) == (5, 1)


def test_neither_command_needs_vllm_or_ray(
    command_here: CommandHere, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("vllm", "torch", "transformers"):
        monkeypatch.setitem(sys.modules, package, None)  # to import it is an error
    requests, results, where = tmp_path / "requests.jsonl", tmp_path / "results.jsonl", tmp_path / "store"
    model = ["--model", MODEL, "--no-image"]
    done = command_here("batch", "write", library, *model, "--out", requests, "--json", store=where)
    assert json.loads(done.out.splitlines()[-1])["requests"] == 5, done.err
    answer([requests], results)
    done = command_here("batch", "read", results, "--requests", requests, "--json", store=where)
    assert json.loads(done.out.splitlines()[-1])["accepted"] == 5, done.err
    done = command_here("batch", "write", library, *model, "--out", requests, "--overwrite", store=where)
    assert done.status == 0 and "requests" in done.out and "Next:" not in done.out
    done = command_here("batch", "write", library, *model, "--out", requests, "--endpoint", "http://x", store=where)
    assert done.status == 2 and "leave out --endpoint" in done.err


def test_vllms_own_batch_runner_is_a_provider(tmp_path: Path, store: Store, redis_url: str) -> None:
    library, requests, results = tmp_path / "l.smi", tmp_path / "requests.jsonl", tmp_path / "results.jsonl"
    library.write_text("CCO\nc1ccccc1\nCC(=O)Oc1ccccc1C(=O)O\n")
    gallon.write_batch(library, requests, store=redis_url)
    command = [sys.executable, "-m", "vllm.entrypoints.openai.run_batch", "-i", requests, "-o", results]
    command += ["--model", local_path("tiny"), "--served-model-name", "tiny", "--dtype", "float32", "--enforce-eager"]
    command += ["--max-num-seqs", "8", "--kv-cache-memory-bytes", str(1 << 28)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=550)
    assert done.returncode == 0, done.stderr
    read = gallon.read_batch(results, requests, store=redis_url)
    assert (read.ledger.accepted, read.ledger.dead, read.unanswered, read.models) == (3, 0, 0, {"tiny": 3})
