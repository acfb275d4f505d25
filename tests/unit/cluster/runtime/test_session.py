"""How a session begins: in any thread, and with nothing left behind where it cannot."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from cluster.runtime import session
from cluster.runtime.chatter import chatter_off_screen, session_chatter_to
from cluster.runtime.session import RaySession, ray_session

ALONE = RaySession(address="head:6379", local=True, dashboard=None, logs=Path(), nodes=())


@pytest.fixture
def shut_down(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a session begin without Ray, and note when Ray is shut down."""
    ended: list[str] = []
    monkeypatch.setattr(session, "_open", [])
    monkeypatch.setattr(session, "_start", lambda *_: SimpleNamespace(dashboard_url=None))
    monkeypatch.setattr(session, "_in_cluster", lambda *_, **__: nullcontext(ALONE))
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append("Ray"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return ended


def in_another_thread(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()


def test_a_session_may_begin_in_any_thread(shut_down: list[str]) -> None:
    def begin() -> str:
        with ray_session(None) as opened:
            return opened.address

    assert in_another_thread(begin) == ALONE.address
    assert shut_down == ["Ray"]


def test_a_session_gives_sigterm_back_to_whoever_had_it(shut_down: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def take_it(*_: object) -> SimpleNamespace:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ray does
        return SimpleNamespace(dashboard_url=None)

    monkeypatch.setattr(session, "_start", take_it)
    before = signal.getsignal(signal.SIGTERM)
    with ray_session(None):
        assert signal.getsignal(signal.SIGTERM) is before


def test_ray_is_shut_down_where_a_session_cannot_begin(shut_down: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(session, "_in_cluster", no_room)
    with pytest.raises(OSError, match="No space"), ray_session(None):
        pass
    assert shut_down == ["Ray"]


def test_only_a_command_keeps_what_ray_writes_off_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def write(text: str) -> None:
        with session_chatter_to(tmp_path / "log"):
            os.write(2, text.encode())

    write("of a script\n")
    with chatter_off_screen():
        write("of a command\n")
    write("of another script\n")
    assert capfd.readouterr().err == "of a script\nof another script\n"
    assert (tmp_path / "log").read_text() == "of a command\n"
