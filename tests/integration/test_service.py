"""The service on a real Ray Serve and a real Redis, with the scripted engine."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import gallon
from cluster.runtime.session import RaySession
from cluster.service.access import TOKEN_VARIABLE, digest_of
from cluster.store.embedded import embedded_redis
from cluster.store.store import Row, Store
from distill.learn.recipes import RECIPES, recipe
from gallon.api.service import _predictor
from teacher.chemistry.molecule import key_of, parse
from teacher.llm.prompt import Prompt, load
from teacher.llm.spec import Model, PromptRef, Sampling, Spec
from tests.support.models import TARGET, untrained_student
from tests.support.records import ELSEWHERE, record
from tests.support.scripted import Script, true_answer
from tests.support.service import FRONT, SECONDS, ask_all, kill_all, kill_one, scripted_service

TOKEN = "a token of the tests"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
QUEUE = 64
DEAD, DEADLY = "CCN", "CCCN"
DELAY = 0.01


@pytest.fixture(scope="module")
def described() -> tuple[Spec, Prompt]:
    prompt = load("describe")
    model = Model(name="scripted", revision="1")
    return Spec(model=model, prompt=PromptRef.of(prompt), sampling=Sampling(max_tokens=100)), prompt


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("engine") / "requests"
    file.touch()
    file.with_name("answers").touch()
    return file


@pytest.fixture(scope="module")
def service_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with embedded_redis(tmp_path_factory.mktemp("store")) as url:
        store = Store(url)
        yield store
        store.close()


@pytest.fixture(scope="module")
def url(
    ray_here: RaySession,
    service_store: Store,
    described: tuple[Spec, Prompt],
    requests: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A service of two fronts, one engine and a student."""
    script = Script(
        delay=DELAY,
        pause=requests.with_name("pause"),
        requests=requests,
        answers=requests.with_name("answers"),
        nonsense=frozenset({DEAD}),
    )
    student = functools.partial(_predictor, untrained_student(tmp_path_factory.mktemp("student")))
    with scripted_service(
        service_store.url,
        ray_here,
        *described,
        script,
        load=student,
        replicas=2,
        queue=QUEUE,
        token_digest=digest_of(TOKEN),
    ) as found:
        yield found


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=SECONDS, headers=HEADERS) as opened:
        yield opened


def chains(number: int, group: str) -> list[str]:
    """Return canonical SMILES of different molecules that carry a group."""
    return [parse(f"{group}{'C' * length}F".encode()).smiles for length in range(1, number + 1)]


def keep(store: Store, spec: Spec, molecules: list[str]) -> None:
    """Store a record of each molecule."""
    keys = [key_of(smiles) for smiles in molecules]
    store.register(spec.id, "before", [Row(key, 0, row) for row, key in enumerate(keys, 1)])
    outcomes = [(key, record(smiles, run="before")) for key, smiles in zip(keys, molecules, strict=True)]
    store.commit(spec.id, "before", outcomes, [(1, 1)] * len(keys))


def test_a_thousand_requests_of_32_clients_store_each_new_molecule_once(
    url: str, service_store: Store, described: tuple[Spec, Prompt], requests: Path
) -> None:
    spec, _ = described
    molecules = [smiles for group in ("O", "N", "S", "[Se]", "Br") for smiles in chains(200, group)]
    random.Random(0).shuffle(molecules)
    stored, new = molecules[:500], molecules[500:]
    keep(service_store, spec, stored)
    random.Random(1).shuffle(molecules)
    answers = ask_all(url, molecules, clients=32, token=TOKEN)
    assert Counter(answer.status for answer in answers) == {200: 1000}
    for smiles, answer in zip(molecules, answers, strict=True):
        found = answer.body
        assert found["record"]["smiles"] == smiles
        assert found["stored"] == (found["record"]["run"] == "before") == (smiles in set(stored))
    assert Counter(requests.read_text().splitlines()) == dict.fromkeys(new, 1)
    assert service_store.counts(spec.id).accepted == 1000
    assert service_store.counts(spec.id).pending == 0


def test_who_asks_for_the_same_molecule_at_the_same_time_waits_for_one_answer(url: str, requests: Path) -> None:
    answers = ask_all(url, ["OCCCN", "NCCCO"] * 16, clients=32, token=TOKEN)
    assert {answer.status for answer in answers} == {200}
    assert len({json.dumps(answer.body["record"]) for answer in answers}) == 1
    assert requests.read_text().splitlines().count("NCCCO") == 1


def test_an_answer_is_the_record_in_the_store(
    client: httpx.Client, service_store: Store, described: tuple[Spec, Prompt]
) -> None:
    answers = client.post("/describe", json={"smiles": ["OCC", "c1ccccc1O", "C(O)C"]}).json()
    assert [answer["smiles"] for answer in answers] == ["OCC", "c1ccccc1O", "C(O)C"]
    assert answers[0]["record"] == answers[2]["record"]
    assert answers[0]["record"]["text"] == true_answer("CCO")
    (kept,) = service_store.fetch(described[0].id, [key_of("CCO")])
    assert kept is not None
    assert answers[0]["record"]["time"] == kept.time
    assert answers[0]["spec"] == described[0].id


def test_a_molecule_that_cannot_be_annotated_is_told_as_a_dead_letter(client: httpx.Client) -> None:
    for stored in (False, True):
        answer = client.post("/describe", json={"smiles": DEAD}).json()
        assert answer["record"] is None
        assert answer["stored"] == stored
        assert answer["dead_letter"]["stage"] == "schema"


@pytest.mark.parametrize("header", [None, "Bearer another token of mine", TOKEN, f"Basic {TOKEN}"])
@pytest.mark.parametrize("path", ["/describe", "/predict"])
def test_nobody_is_let_in_without_the_token(url: str, path: str, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    answer = httpx.post(url + path, json={"smiles": "C"}, headers=headers, timeout=SECONDS)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Bearer TOKEN" in answer.json()["detail"]


def test_health_and_the_explained_paths_need_no_token(url: str, described: tuple[Spec, Prompt]) -> None:
    assert httpx.get(f"{url}/healthz", timeout=SECONDS).json() == {"status": "ok", "spec": described[0].id}
    assert httpx.get(f"{url}/readyz", timeout=SECONDS).json() == {"status": "ready", "spec": described[0].id}
    assert "/openapi.json" in httpx.get(f"{url}/docs", timeout=SECONDS).text
    explained = httpx.get(f"{url}/openapi.json", timeout=SECONDS).json()
    assert explained["paths"].keys() == {"/describe", "/predict", "/healthz", "/readyz"}
    assert "dead_letter" in explained["components"]["schemas"]["Answer"]["properties"]


def test_a_model_predicts_one_molecule_or_several(client: httpx.Client) -> None:
    one = client.post("/predict", json={"smiles": "CCO"}).json()
    several = client.post("/predict", json={"smiles": ["CCO", "c1ccccc1"]}).json()
    assert one["predictions"][TARGET] == pytest.approx(several[0]["predictions"][TARGET], rel=1e-4)
    assert [each["smiles"] for each in several] == ["CCO", "c1ccccc1"]
    assert several[1]["predictions"][TARGET] != several[0]["predictions"][TARGET]


def test_beyond_its_queue_the_service_is_busy_and_answers_what_is_stored(
    url: str, client: httpx.Client, requests: Path
) -> None:
    client.post("/describe", json={"smiles": "CO"})
    waiting = [chains(2 * QUEUE, "I"), chains(2 * QUEUE, "P")]
    lists = [group[start : start + QUEUE] for group in waiting for start in (0, QUEUE)]
    answers = ask_all(url, lists + lists[::-1], clients=8, token=TOKEN)  # two fronts have room for a list each
    busy = [answer for answer in answers if answer.status == 429]
    assert {answer.status for answer in answers} == {200, 429}
    assert {answer.headers["retry-after"] for answer in busy} == {"1"}
    assert "ask again later" in busy[0].body["detail"]
    assert client.post("/describe", json={"smiles": "CO"}).json()["stored"]


def test_a_molecule_that_another_run_holds_is_waited_for(
    client: httpx.Client, service_store: Store, described: tuple[Spec, Prompt]
) -> None:
    spec, key = described[0], key_of("CCCO")
    service_store.register(spec.id, "other", [Row(key, 0, 1)])
    service_store.heartbeat("other", spec.id, ELSEWHERE, 600)
    service_store.claim(spec.id, "other", [key], "claim")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, "/describe", json={"smiles": "CCCO"})
        time.sleep(1)
        assert not asked.done()
        service_store.commit(spec.id, "other", [(key, record("CCCO", run="other"))], [(1, 1)])
        assert asked.result().json()["record"]["run"] == "other"
    service_store.stop_heartbeat("other")


def wait_for(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_death_of_an_annotator_loses_nothing_and_nobody_notices(
    url: str, service_store: Store, described: tuple[Spec, Prompt], requests: Path
) -> None:
    molecules, answered = chains(150, "C#C"), requests.with_name("answers")
    before = len(answered.read_text().splitlines())
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask_all, url, molecules, clients=16, token=TOKEN)
        wait_for(lambda: len(answered.read_text().splitlines()) > before + 20)
        os.kill(int(answered.read_text().splitlines()[-1].split()[0]), signal.SIGKILL)
        answers = asking.result()
    assert {answer.status for answer in answers} == {200}
    assert [answer.body["record"]["smiles"] for answer in answers] == molecules
    spec = described[0]
    assert service_store.state_of(spec.id, [key_of(smiles) for smiles in molecules]) == ["accepted"] * 150
    assert len({line.split()[0] for line in answered.read_text().splitlines()}) > 1


def is_reached(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=SECONDS).status_code == 200
    except httpx.TransportError:
        return False


def test_the_death_of_a_front_loses_nothing_for_who_asks_again(
    url: str, service_store: Store, described: tuple[Spec, Prompt], requests: Path
) -> None:
    spec, molecules = described[0], chains(100, "C=C")
    before, pause, failed = service_store.counts(spec.id), requests.with_name("pause"), list[str]()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask_all, url, molecules, clients=16, token=TOKEN, failed=failed)
        wait_for(lambda: molecules[20] in requests.read_text().splitlines())
        pause.touch()
        kill_one(FRONT)
        wait_for(lambda: failed and is_reached(url))
        time.sleep(1)  # in which what failed is asked for again, while the first request for it is on its way
        pause.unlink()
        answers = asking.result()
    assert {answer.status for answer in answers} == {200}
    assert [answer.body["record"]["smiles"] for answer in answers] == molecules
    asked = Counter(requests.read_text().splitlines())
    assert {smiles: asked[smiles] for smiles in molecules} == dict.fromkeys(molecules, 1)
    after = service_store.counts(spec.id)
    assert (after.accepted - before.accepted, after.pending) == (100, 0)
    stored = service_store.fetch(spec.id, [key_of(smiles) for smiles in molecules])
    told = [(answer.body["record"]["run"], answer.body["record"]["time"]) for answer in answers]
    assert [(kept.run, kept.time) for kept in stored if kept] == told


def test_a_training_outlives_the_death_of_the_service_and_nothing_is_asked_twice(
    url: str,
    service_store: Store,
    described: tuple[Spec, Prompt],
    requests: Path,
    ray_here: RaySession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gallon.api.annotation.ray_session", lambda _: nullcontext(ray_here))
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    for name in ("library-sage", "e-llagnn-sage"):
        known = recipe(name)
        monkeypatch.setitem(RECIPES, name, replace(known, schedule=replace(known.schedule, epochs=2)))
    spec, pause = described[0], requests.with_name("pause")
    molecules = chains(20, "Cl") + chains(20, "[SiH3]")
    (tmp_path / "chains.csv").write_text(
        "\n".join(["smiles,length", *(f"{one},{len(one)}" for one in molecules)]) + "\n"
    )

    def asked() -> Counter[str]:
        return Counter(one for one in requests.read_text().splitlines() if one in set(molecules))

    def train() -> None:
        gallon.teach(
            tmp_path / "chains.csv",
            target="length",
            split="random",
            teacher="e-llagnn-sage",
            folds=0,
            service=url,
            llm_budget=0.5,
            budget_by="uncertainty",
            llm_rounds=2,
            store=service_store.url,
            out=tmp_path / "models",
        )

    before = service_store.counts(spec.id).accepted
    pause.touch()
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(train)
        try:
            while not service_store.counts(spec.id).pending and not training.done():
                time.sleep(0.1)
            kill_all(FRONT)  # whichever it asks
        finally:
            pause.unlink()
        training.result()  # a busy machine may take minutes
    number = int(0.5 * 0.8 * len(molecules))
    assert service_store.counts(spec.id).accepted - before == number
    assert set(asked().values()) == {1} and asked().total() == number
    train()  # out of the store, and of the fits that are kept
    assert asked().total() == number
