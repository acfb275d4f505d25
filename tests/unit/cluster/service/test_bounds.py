"""What a front lets in, and what it tells of failures behind it, without Ray: handles that answer by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from ray.exceptions import RayTaskError

from cluster.service import front as fronts
from cluster.service.app import LONGEST_TEXT, build_app
from cluster.service.front import Front, FrontSettings
from cluster.store.connection import StoreError, StoreFullError
from teacher.errors import EngineStartError, GallonError

QUEUE = 3
MOST = (QUEUE + 1) * LONGEST_TEXT
SECRET = "redis://10.0.0.7:6379"
Ask = Callable[[httpx.AsyncClient], Coroutine[Any, Any, list[httpx.Response]]]


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let fronts log into no folder of Ray's."""
    monkeypatch.setattr(fronts, "ray_log_folder", lambda: tmp_path)
    monkeypatch.setattr(fronts, "log_in_worker", lambda *_: None)


def predictor(predict: Callable[[Sequence[str]], Coroutine[Any, Any, list[dict[str, float]]]]) -> Any:
    """Return a handle of predictors."""
    return SimpleNamespace(predict=SimpleNamespace(remote=predict))


async def at_once(molecules: Sequence[str]) -> list[dict[str, float]]:
    return [{"value": 1.0}] * len(molecules)


def asked(handle: Any, ask: Ask) -> list[httpx.Response]:
    """Return the answers of a service that predicts, to what a client asks."""
    app = build_app(Front(FrontSettings(store_url=None, spec_id=None, queue=QUEUE), None, handle))

    async def go() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            return await ask(client)

    return asyncio.run(asyncio.wait_for(go(), 20))


def test_beyond_its_queue_the_service_predicts_nothing_more_until_there_is_room() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(molecules: Sequence[str]) -> list[dict[str, float]]:
        begun.set()
        await go_on.wait()
        return await at_once(molecules)

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        first = asyncio.create_task(client.post("/predict", json={"smiles": ["C", "CC"]}))
        await begun.wait()
        busy = await client.post("/predict", json={"smiles": ["C", "CC"]})
        go_on.set()
        return [await first, busy, await client.post("/predict", json={"smiles": ["C", "CC", "CCC"]})]

    first, busy, last = asked(predictor(slow), ask)
    assert [first.status_code, busy.status_code, last.status_code] == [200, 429, 200]
    assert busy.json()["detail"] == "2 molecules of at most 3 are being predicted here: ask again later."
    assert busy.headers["retry-after"] == "1"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_body_that_announces_too_many_bytes_is_refused_unread(content_type: str) -> None:
    pieces = list[bytes]()

    async def body() -> AsyncIterator[bytes]:
        pieces.append(b" " * (MOST + 1))
        yield pieces[-1]

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        headers = {"Content-Type": content_type, "Content-Length": str(MOST + 1)}
        return [await client.post("/predict", content=body(), headers=headers)]

    (answer,) = asked(predictor(at_once), ask)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "The body is larger than 40,000 bytes: send the molecules in several requests."
    assert not pieces


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_long(content_type: str) -> None:
    pieces = list[int]()

    async def body() -> AsyncIterator[bytes]:
        for number in range(100):
            pieces.append(number)
            yield b" " * LONGEST_TEXT

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post("/predict", content=body(), headers={"Content-Type": content_type})]

    (answer,) = asked(predictor(at_once), ask)
    assert answer.status_code == 413
    assert len(pieces) == QUEUE + 2


def test_a_body_is_not_too_large_for_the_longest_texts_of_a_request() -> None:
    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post("/predict", json={"smiles": ["X" * LONGEST_TEXT] * QUEUE})]

    (answer,) = asked(predictor(at_once), ask)
    assert answer.json()["detail"].startswith("No molecule")


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (
            StoreFullError(f"The store at {SECRET} is full: raise maxmemory."),
            "The service's store fails: ask again later; its log says why.",
        ),
        (
            EngineStartError(f"No engine beside {SECRET}: lower --kv-cache-gib."),
            "The service's workers fail: ask again later; its log says why.",
        ),
    ],
)
def test_a_failure_behind_the_front_is_told_without_addresses_and_logged(
    cause: GallonError, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Sequence[str]) -> list[dict[str, float]]:
        raise RayTaskError("predict", "Traceback ...", cause).as_instanceof_cause()

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post("/predict", json={"smiles": "C"})]

    (answer,) = asked(predictor(fail), ask)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["detail"] == sentence
    assert SECRET in caplog.text
    assert isinstance(cause, StoreError) == ("store" in sentence)
