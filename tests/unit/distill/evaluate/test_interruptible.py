"""Calls that an interrupt does not wait for."""

from __future__ import annotations

import hashlib
import signal
import threading

import pytest

from distill.evaluate.interruptible import NAME, interruptible


def test_what_a_call_returns_or_raises_comes_back() -> None:
    assert interruptible(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0)


def test_an_interrupt_does_not_wait_for_native_code() -> None:
    main = threading.main_thread().ident
    threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 5_000_000))  # no step in Python
    assert any(thread.name == NAME for thread in threading.enumerate())
