"""Libraries behind a URL, whose server fails in ways of its own: none of its errors is an `OSError`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import pytest

from cluster.library.errors import LibraryError
from cluster.library.rows import read
from cluster.library.source import resolve
from cluster.library.streams import damage_told
from cluster.runs.limits import LimitError

FIRST = 6 * 2**20  # bytes that arrive whole; fsspec asks for some 5 MiB at a time
CONTENT = b"".join(b"C%d %s\n" % (number, b"x" * 200) for number in range(60_000))

Fault = Literal["503", "cut"]


@contextmanager
def failing(fault: Fault) -> Iterator[str]:
    """Serve a library on loopback that fails behind its first bytes, and any list of files at all; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self._head(*((200, len(CONTENT)) if self.path == "/a.smi" else (503, 0)))

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
            first, last = int(asked[0] or 0), min(int(asked[2] or len(CONTENT) - 1), len(CONTENT) - 1)
            if self.path != "/a.smi" or (fault == "503" and last >= FIRST):
                self._head(503, 0)
                return
            self._head(206, last + 1 - first, f"bytes {first}-{last}/{len(CONTENT)}")
            self.wfile.write(CONTENT[first : last + 1 if last < FIRST else first + 100])
            self.close_connection = last >= FIRST

        def _head(self, status: int, size: int, part: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(size))
            self.send_header("Accept-Ranges", "bytes")
            if part:
                self.send_header("Content-Range", part)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("fault", ["503", "cut"])
def test_a_server_that_fails_midway_gives_the_rows_before_and_then_an_error(fault: Fault) -> None:
    with failing(fault) as url:
        (source,) = resolve([f"{url}a.smi"])
        found: list[bytes] = []
        with pytest.raises(LibraryError, match=r"/a\.smi can be read no further than row") as damage:
            for table in read(source, 0):
                found += table["raw"].to_pylist()
    assert len(found) > 10_000
    assert found == [b"C%d" % number for number in range(len(found))]
    assert f"no further than row {len(found):,}: " in str(damage.value)


def test_a_server_that_does_not_list_its_files_is_told_as_that() -> None:
    with failing("503") as url, pytest.raises(LibraryError, match=r"\*\.smi cannot be opened: 503"):
        resolve([f"{url}*.smi"])


def test_a_limit_that_stops_a_run_while_it_reads_a_url_is_no_damage() -> None:
    with pytest.raises(LimitError, match="too many"), damage_told("https://127.0.0.1/a.smi"):
        raise LimitError("too many errors")
