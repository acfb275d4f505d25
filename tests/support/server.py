"""An OpenAI-compatible server that answers truly, after a storm of faults that a test chooses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.scripted import SMILES_LINE, true_answer

MODEL, KEY = "some/model", "the key"
TOO_NEW = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."


@dataclass
class Behaviour:
    """What the next requests meet, first come first served, and what was asked.

    Attributes:
        faults: of each request, until they are used up: a status, a body, or "cut", "nonsense", "empty", "hang".
        models: the status with which it lists its models.
        words: of its errors, with their status.
        retry_after: what a busy server says.
        asked: the bodies of all requests.
        message: what is answered in place of the truth.
        newest: whether it refuses `max_tokens`, as OpenAI's newest models do.
        held: lets go of requests that hang.
    """

    faults: list[Any] = field(default_factory=list)
    models: int = 200
    words: str = "fault {}"
    retry_after: str | None = "0"
    asked: list[dict[str, Any]] = field(default_factory=list)
    message: dict[str, Any] | None = None
    newest: bool = False
    held: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self) -> Any:
        """Take the next fault."""
        with self.lock:
            return self.faults.pop(0) if self.faults else None


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Serve on loopback, and yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._answer(behaviour.models, {"data": [{"id": MODEL}]}) if self._known() else self._answer(401, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with behaviour.lock:
                behaviour.asked.append(body)
            match fault := behaviour.next_fault():
                case int():
                    self._answer(fault, {"error": {"message": behaviour.words.format(fault)}})
                case "cut":
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"choices": [')
                    self.close_connection = True
                case "nonsense":
                    self._send(200, b"<html>")
                case "empty":
                    self._answer(200, {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]})
                case {"body": facts}:
                    self._answer(200, facts)
                case "hang":
                    behaviour.held.wait()
                case _ if behaviour.newest and "max_tokens" in body:
                    self._answer(400, {"error": {"message": TOO_NEW}})
                case _:
                    self._answer(200, _completion(body, behaviour))

        def _known(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {KEY}"

        def _answer(self, status: int, facts: Any) -> None:
            self._send(status, json.dumps(facts).encode())

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            if status in {429, 503} and behaviour.retry_after is not None:
                self.send_header("Retry-After", behaviour.retry_after)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        behaviour.held.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _completion(body: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    texts = [part["text"] for part in body["messages"][-1]["content"] if part["type"] == "text"]
    found = SMILES_LINE.search("\n".join(texts))
    text = true_answer(found.group(1)) if found else "{}"
    choice = {"message": behaviour.message or {"content": text}, "finish_reason": "stop"}
    usage: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 20}
    if "reasoning" in choice["message"]:
        usage["completion_tokens_details"] = {"reasoning_tokens": 8}
    return {"choices": [choice], "usage": usage}
