"""Annotation by an OpenAI-compatible server: nothing lost or written twice, and with vLLM's own the same texts."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import gallon
from cluster.runtime.session import RaySession
from cluster.store.store import Store
from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.llm.engines import endpoint
from teacher.llm.engines.endpoint import KEY_VARIABLES, EndpointEngine, EndpointSettings
from teacher.llm.engines.vllm_engine import VllmEngine
from teacher.llm.models import local_path
from teacher.llm.request import build_request
from tests.support.server import KEY, MODEL, Behaviour, serving

START_SECONDS = 550


def test_a_faulty_server_loses_nothing_and_writes_nothing_twice(
    ray_here: RaySession, store: Store, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLES[0], KEY)
    library = tmp_path / "library.smi"
    library.write_text("".join("C" * length + "O\n" for length in range(1, 101)))
    behaviour = Behaviour(faults=[429, 503, "cut", "nonsense", 500, 429, "empty", 502] * 5)
    with serving(behaviour) as url:
        found = gallon.annotate(str(library), endpoint=url, model=MODEL, store=redis_url)
    assert (found.ledger.molecules, found.ledger.accepted, found.ledger.dead, found.ledger.pending) == (100, 100, 0, 0)
    assert store.specs()[found.spec].model.revision == endpoint.UNPROVEN
    assert len(behaviour.asked) == 100 + 40
    assert len(gallon.annotations(store=redis_url)) == 100
    assert found.ledger.prompt_tokens == 100 * 100


def test_a_wrong_key_ends_the_run_in_one_sentence_and_costs_no_molecule(
    ray_here: RaySession, store: Store, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLES[0], "another key")
    library = tmp_path / "library.smi"
    library.write_text("CCO\n")
    with serving(Behaviour()) as url, pytest.raises(gallon.GallonError, match=r"does not let us in \(HTTP 401\)"):
        gallon.annotate(library, endpoint=url, model=MODEL, store=redis_url)
    (spec,) = store.specs()
    assert store.counts(spec).dead == 0


@pytest.fixture
def vllm_server(tmp_path: Path) -> Iterator[str]:
    """vLLM's own server with the tiny model, on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # `vllm serve` asks for the version of a distribution of that name, which the one for CPUs does not have.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", local_path("tiny")]
    command += [
        "--served-model-name",
        "tiny",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--dtype",
        "float32",
        "--max-num-seqs",
        "8",
    ]
    command += ["--enforce-eager", "--kv-cache-memory-bytes", str(1 << 28)]
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                assert server.poll() is None and time.monotonic() < deadline, (tmp_path / "server.log").read_text()
                try:
                    httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=1).raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(30)


def test_vllms_own_server_writes_what_the_engine_in_the_process_writes(
    vllm_server: str, tiny_engine: VllmEngine
) -> None:
    resolved = resolve_spec(SpecConfig())
    client = EndpointEngine(EndpointSettings(url=vllm_server, model="tiny"))
    requests = [
        build_request(smiles, smiles.encode(), resolved.spec, resolved.prompt)[0]
        for smiles in ("CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "N#Cc1ccncc1")
    ]
    by_server = [client.submit(request).result(timeout=120) for request in requests]
    client.close()
    by_engine = [tiny_engine.submit(request).result(timeout=120) for request in requests]
    assert [answer.text for answer in by_server] == [answer.text for answer in by_engine]
    assert {answer.finish_reason for answer in by_server} == {"stop"}
    tokens = [(answer.prompt_tokens, answer.completion_tokens) for answer in by_server]
    assert tokens == [(answer.prompt_tokens, answer.completion_tokens) for answer in by_engine]
