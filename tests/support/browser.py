"""A real Chromium, where there is one: what it says on its console is kept, and nothing may come from the network."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

BARE_SECONDS = 0.5  # a browser opens connections that it may want later, and would be waited for at each of them
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def opened(page: Path, **options: Any) -> Iterator[Any]:
    """Open a file and yield Playwright's page; fail at the end if there was an error on it or a request from it.

    Args:
        page: an HTML file.
        options: of Playwright's `new_context`: the size of the window, the colour scheme.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs 'pip install playwright'")
    program = _program()
    complaints: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        shown = browser.new_context(**options).new_page()
        shown.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("request", lambda request: complaints.extend({request.url} - {page.as_uri()}))
        shown.goto(page.as_uri())
        yield shown
        browser.close()
    assert complaints == []


def expected(place: Any) -> Any:
    """Return Playwright's assertions about a place of the page, which wait until they hold."""
    from playwright.sync_api import expect

    return expect(place)


@contextmanager
def listening() -> Iterator[tuple[str, list[bytes]]]:
    """Yield the URL of a server on loopback, and what has been sent to it: an empty text for a bare connection."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    heard.append(b"")
                    connection.settimeout(BARE_SECONDS)
                    with suppress(TimeoutError):
                        heard[-1] = connection.recv(200)

        threading.Thread(target=listen, daemon=True).start()
        host, port = server.getsockname()
        yield f"http://{host}:{port}", heard
        server.shutdown(socket.SHUT_RDWR)


def load(page: Path, profile: Path) -> None:
    """Let Chromium load a file, and wait until nothing of it is left to be done."""
    headless = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom")
    command = [_program(), *headless, f"--user-data-dir={profile}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def _program() -> str:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("needs Chromium (Debian's package chromium)")
    return program
