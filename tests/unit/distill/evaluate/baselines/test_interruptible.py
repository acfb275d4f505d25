"""Calls that an interrupt does not wait for."""

from __future__ import annotations

import hashlib
import threading

import pytest

from distill.evaluate.baselines.interruptible import NAME, interruptible
from tests.support.interrupt import interrupt_after


def test_what_a_call_returns_or_raises_comes_back() -> None:
    assert interruptible(lambda _: 7) == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda _: 1 / 0)


def test_an_interrupt_does_not_wait_for_native_code() -> None:
    interrupt_after(0.2)
    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda _: hashlib.pbkdf2_hmac("sha256", b"", b"", 5_000_000))  # no step in Python
    assert any(thread.name == NAME for thread in threading.enumerate())


def test_a_call_is_told_of_the_interrupt() -> None:
    told = threading.Event()

    def wait_to_be_told(stop: threading.Event) -> None:
        stop.wait()
        told.set()

    interrupt_after(0.2)
    with pytest.raises(KeyboardInterrupt):
        interruptible(wait_to_be_told)
    assert told.wait(60)
