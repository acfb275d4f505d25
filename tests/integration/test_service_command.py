"""`gallon serve` with the real vLLM: from the command to the record, and stopped in the middle of an answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from cluster.runtime.session import RaySession
from cluster.store.embedded import embedded_redis
from cluster.store.store import Store
from teacher.chemistry.molecule import key_of
from teacher.errors import EngineStartError
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.command import COMMAND, CommandHere
from tests.support.gpus import FAKE_GPUS
from tests.support.models import untrained_student
from tests.support.scripted import Script, true_answer
from tests.support.service import SECONDS, free_port, scripted_service

TOKEN = "a token of the tests"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@pytest.fixture
def served_store(tmp_path: Path) -> Iterator[Store]:
    with embedded_redis(tmp_path / "store") as url:
        store = Store(url)
        yield store
        store.close()


@pytest.fixture
def command(ray_address: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, on the tests' Ray."""
    environment = {**os.environ, "GALLON_SERVICE_TOKEN": TOKEN, "GALLON_STORE": str(tmp_path / "store")}
    options = ["--port", str(free_port()), "--ray", ray_address, "--concurrency", "8", "--kv-cache-gib", "0.25"]
    with subprocess.Popen(
        [*COMMAND, "serve", *options, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_the_command_describes_by_vllm_and_finishes_what_it_has_in_hand_when_it_is_stopped(
    served_store: Store, command: subprocess.Popen[str]
) -> None:
    assert command.stdout is not None
    assert command.stderr is not None
    line = command.stdout.readline()
    assert line, command.stderr.read()
    running = json.loads(line)
    ask = httpx.Client(base_url=running["url"], headers=HEADERS, timeout=SECONDS).post
    first, again = (ask("/describe", json={"smiles": ASPIRIN}).json() for _ in range(2))
    assert (first["stored"], again["stored"]) == (False, True)
    assert first["record"] == again["record"]
    assert {"functional_groups", "description"} <= json.loads(first["record"]["text"]).keys()
    with ThreadPoolExecutor(1) as pool:
        last = pool.submit(ask, "/describe", json={"smiles": ["c1ccccc1O", "CCO"]})
        while served_store.counts(running["spec"]).molecules < 3:
            assert not last.done()
        command.send_signal(signal.SIGTERM)
        assert [answer["record"]["smiles"] for answer in last.result().json()] == ["Oc1ccccc1", "CCO"]
    assert command.wait(SECONDS) == 0, command.stderr.read()
    assert served_store.state_of(running["spec"], [key_of("Oc1ccccc1"), key_of("CCO")]) == ["accepted"] * 2
    (run,) = served_store.runs().values()
    assert (run["state"], run["sources"]) == ("finished", ["POST /describe"])
    assert (run["ledger"]["molecules"], run["ledger"]["new"], run["ledger"]["pending"]) == (3, 3, 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "0.0.0.0"], "put a token into GALLON_SERVICE_TOKEN"),
        (["--no-describe"], "There is nothing to serve: give --student FOLDER"),
        (["--student", "nowhere"], "nowhere"),
        (["--token-file", "nowhere"], "The token file nowhere cannot be read"),
    ],
)
def test_a_mistake_in_the_command_is_told_before_anything_starts(
    command_here: CommandHere, tmp_path: Path, options: list[str], sentence: str
) -> None:
    done = command_here("serve", *options, store=tmp_path / "store")
    assert done.status == 2
    assert sentence in done.err
    assert not (tmp_path / "store").exists()


def test_an_address_that_is_taken_is_told(ray_here: object, command_here: CommandHere, tmp_path: Path) -> None:
    student = untrained_student(tmp_path / "model")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ["--student", student, "--no-describe", "--port", str(taken.getsockname()[1])]
        done = command_here("serve", *options, store=tmp_path / "store")
    assert done.status == 2
    assert "cannot listen at" in done.err


def test_an_engine_that_does_not_start_ends_the_service_in_its_own_sentence(
    ray_here: RaySession, served_store: Store, spec: Spec, describe: Prompt
) -> None:
    script = Script(start_error="There is no room for the weights.")
    with (
        pytest.raises(EngineStartError, match=r"^There is no room for the weights\.$"),
        scripted_service(served_store.url, ray_here, spec, describe, script),
    ):
        raise AssertionError("it started")
    (run,) = served_store.runs().values()
    assert run["state"] == "failed"


def test_the_service_answers_while_one_engine_does_not_start_and_another_waits_for_gpus(
    ray_with_gpus: RaySession,
    served_store: Store,
    spec: Spec,
    describe: Prompt,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "start").touch()  # which befalls one engine
    cluster = replace(ray_with_gpus, local=False)
    with scripted_service(
        served_store.url, cluster, spec, describe, Script(trouble=tmp_path), workers=3, gpus=FAKE_GPUS // 2
    ) as url:
        assert not (tmp_path / "start").exists()
        answer = httpx.post(f"{url}/describe", json={"smiles": ASPIRIN}, timeout=SECONDS).json()
        assert answer["record"]["text"] == true_answer(ASPIRIN)
    assert "of 3 engines ready" in caplog.text
