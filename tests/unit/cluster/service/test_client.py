"""The client of the service waits for it where it is away, and asks about nothing twice that was answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.service import client
from cluster.service.client import ServiceClient, ServiceGoneError
from teacher.errors import UsageError


@dataclass
class Scene:
    """What the next requests meet, and which molecules were described."""

    faults: list[int] = field(default_factory=list)
    described: list[str] = field(default_factory=list)
    refused: frozenset[str] = frozenset()
    tokens: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)
    found = Scene()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            found.tokens.append(self.headers["Authorization"])
            self._answer(200, {"status": "ok", "spec": "abc"})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["smiles"]
            if fault := found.faults.pop(0) if found.faults else None:
                self._answer(fault, {"detail": "not now"})
            elif found.refused & set(asked):
                self._answer(422, {"detail": "No molecule."})
            else:
                found.described += asked
                self._answer(200, [{"record": {"smiles": one}} for one in asked])

        def _answer(self, status: int, facts: object) -> None:
            body = json.dumps(facts).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield found
    server.shutdown()
    server.server_close()


def test_a_service_that_is_away_for_a_while_is_asked_again_and_answers_each_molecule_once(scene: Scene) -> None:
    molecules = ["C" * length for length in range(1, 41)]
    scene.faults = [503, 429, 500]
    shown: list[int] = []
    asking = ServiceClient(scene.url)
    assert asking.spec() == "abc"
    assert asking.describe(molecules, shown.append) == 0
    assert scene.described == molecules and shown == [16, 32, 40]


def test_a_molecule_that_is_refused_costs_no_other(scene: Scene) -> None:
    scene.refused = frozenset({"CC"})
    assert ServiceClient(scene.url).describe(["C", "CC", "CCC"]) == 1
    assert scene.described == ["C", "CCC"]


def test_what_is_not_there_or_wants_a_token_is_told_in_a_sentence(scene: Scene) -> None:
    scene.faults = [401]
    with pytest.raises(UsageError, match="wants a token: put it into GALLON_SERVICE_TOKEN"):
        ServiceClient(scene.url).describe(["C"])
    scene.faults = [404]
    with pytest.raises(UsageError, match=r"no 'gallon serve' that describes \(HTTP 404\)"):
        ServiceClient(scene.url).describe(["C"])
    with pytest.raises(UsageError, match="is no URL"):
        ServiceClient("nonsense").spec()
    with pytest.raises(ServiceGoneError, match="the same command, which goes on"):
        ServiceClient("http://127.0.0.1:1", patience=0.02).spec()


def test_a_token_is_sent_without_blanks_and_never_told(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "0123456789abcdef"
    assert ServiceClient(scene.url, f"{token}\n").spec() == "abc"
    assert scene.tokens == [f"Bearer {token}"]
    monkeypatch.setattr(client, "FIRST_PATIENCE", 0.5)
    with pytest.raises(ServiceGoneError, match=r"\*\*\*") as told:
        ServiceClient(scene.url, f"{token}\n{token}").spec()  # a header that HTTP refuses, whole, in its message
    assert "***" in caplog.text and token not in caplog.text + str(told.value)
