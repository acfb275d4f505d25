"""What the service answers without an engine: refusals in one sentence, and whether it is alive and ready."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from cluster.service import front as fronts
from cluster.service import stored_answers
from cluster.service.app import Question, build_app
from cluster.service.front import Front, FrontSettings
from cluster.store.store import Row, Store
from teacher.chemistry.molecule import key_of
from tests.support.records import record

QUEUE = 64
SECONDS = 20.0  # for an answer: less than a request waits for a silent Redis
JSON = "application/json"
NOWHERE = "redis://:secret@127.0.0.1:1"


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let fronts log into no folder of Ray's."""
    monkeypatch.setattr(fronts, "ray_log_folder", lambda: tmp_path)
    monkeypatch.setattr(fronts, "log_in_worker", lambda *_: None)


def front(store_url: str | None = NOWHERE, *, describes: bool = True, predicts: bool = True) -> Front:
    """Return a front whose engines nobody asks."""
    settings = FrontSettings(store_url=store_url, spec_id="spec", queue=QUEUE)
    return Front(settings, object() if describes else None, object() if predicts else None)


def ask(
    asked: Front, path: str, body: str | bytes = "", content_type: str = JSON, method: str = "POST"
) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(build_app(asked))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, content=body, headers={"Content-Type": content_type})

    return asyncio.run(asyncio.wait_for(go(), SECONDS))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"smiles": "CC("}, "No molecule: 'CC(' cannot be read by RDKit."),
        ({"smiles": ["C", "CX", "F(F)F"]}, "'CX' cannot be read by RDKit; 'F(F)F' is rejected by RDKit"),
        ({"smiles": "\ud800"}, "A SMILES in 'smiles' holds half a character"),
        ({"smiles": []}, "'smiles' holds 0 molecules, and a request 1 to 64 (--queue)"),
        ({"smiles": ["C"] * 65}, "'smiles' holds 65 molecules, and a request 1 to 64 (--queue)"),
        ({"smile": "C"}, "The field 'smiles' is missing, and 'smile' is no field: send JSON as"),
        ({}, "The field 'smiles' is missing: send JSON as"),
        ({"smiles": "C", "model": "x"}, "'model' is no field of a request, which has only 'smiles'"),
        ({"smiles": 3}, "The field 'smiles' must be a SMILES or a list of them: send JSON as"),
        ({"smiles": ["C", None]}, "a list of them, and entry 2 of the list is no text: send JSON as"),
        ({"smiles": ["C", "C" * 10_001]}, "A SMILES in 'smiles' is longer than 10,000 characters"),
        (["C"], "The body must be an object with the field 'smiles': send JSON as"),
    ],
)
@pytest.mark.parametrize("path", ["/describe", "/predict"])
def test_a_mistake_in_a_request_is_told_in_one_sentence(path: str, body: object, sentence: str) -> None:
    answer = ask(front(), path, json.dumps(body))
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "sentence"),
    [
        ("", JSON, 422, "The request has no body"),
        ('{"smiles": "C"', JSON, 422, "The body is no JSON (Expecting ',' delimiter, at character 14)"),
        (b'{"smiles": "\xff"}', JSON, 400, "The body is no JSON in UTF-8"),
        ('{"smiles": "C"}', "text/plain", 422, "the header 'Content-Type: application/json', not 'text/plain'"),
    ],
)
def test_a_body_that_is_no_json_is_told_with_what_to_send(
    body: str | bytes, content_type: str, status: int, sentence: str
) -> None:
    answer = ask(front(), "/describe", body, content_type)
    assert answer.status_code == status
    assert sentence in answer.json()["detail"]
    assert '{"smiles": "CCO"}' in answer.json()["detail"]


def test_what_a_service_was_started_without_is_told_with_how_to_give_it() -> None:
    answer = ask(front(predicts=False), "/predict", '{"smiles": "C"}')
    assert (answer.status_code, "gallon serve --student FOLDER" in answer.json()["detail"]) == (404, True)
    answer = ask(front(None, describes=False), "/describe", '{"smiles": "C"}')
    assert (answer.status_code, "without --no-describe" in answer.json()["detail"]) == (404, True)
    explained = ask(front(predicts=False), "/openapi.json", method="GET").json()
    assert explained["paths"].keys() == {"/describe", "/healthz", "/readyz"}


def test_a_path_or_method_that_there_is_not_is_told_with_those_that_there_are() -> None:
    answer = ask(front(), "/annotate", '{"smiles": "C"}')
    assert answer.status_code == 404
    assert all(path in answer.json()["detail"] for path in ("/describe", "/predict", "/healthz", "/readyz"))
    answer = ask(front(), "/describe", method="GET")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["detail"].startswith("/describe takes POST, not GET: send JSON as")
    assert ask(front(), "/healthz").json()["detail"] == "/healthz takes GET, not POST."


def test_a_service_is_ready_as_long_as_its_store_answers(store: Store) -> None:
    ready = ask(front(store.url), "/readyz", method="GET")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "spec": "spec"})
    assert ask(front(None, describes=False), "/readyz", method="GET").status_code == 200


@pytest.mark.parametrize("content_type", [JSON, f"{JSON}; charset=utf-8"])
def test_a_stored_answer_is_the_record_however_json_is_announced(store: Store, content_type: str) -> None:
    kept = replace(record("CCO"), text="µ \u2028")
    store.register("spec", "run", [Row(key_of("CCO"), 0, 1)])
    store.commit("spec", "run", [(key_of("CCO"), kept)], [(1, 1)])
    one = ask(front(store.url), "/describe", '{"smiles": "OCC"}', content_type)
    assert one.json() == {
        "smiles": "OCC",
        "spec": "spec",
        "stored": True,
        "record": json.loads(json.dumps(asdict(kept))),
        "dead_letter": None,
    }
    several = ask(front(store.url), "/describe", '{"smiles": ["CCO", "OCC"]}', content_type)
    assert [answer["smiles"] for answer in several.json()] == ["CCO", "OCC"]
    assert {one.headers["content-type"], several.headers["content-type"]} == {JSON}


def test_what_a_front_fails_over_is_not_taken_for_a_mistake_in_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[object]()

    async def fail(_: Front, texts: object) -> None:
        calls.append(texts)
        Question.model_validate({"smiles": 3})

    monkeypatch.setattr(Front, "describe", fail)
    with pytest.raises(ValidationError):
        ask(front(), "/describe", '{"smiles": "C"}')
    assert len(calls) == 1


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of what lets clients in and never answers, as a Redis that is stopped does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://:secret@127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("gone", ["closed", "silent"])
def test_a_service_without_its_store_is_alive_and_not_ready(
    gone: str, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_answers, "CHECK_SECONDS", 0.2)
    asked = front(silent if gone == "silent" else NOWHERE)
    assert ask(asked, "/healthz", method="GET").status_code == 200
    answer = ask(asked, "/readyz", method="GET")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["detail"] == "The service's store fails: ask again later; its log says why."
