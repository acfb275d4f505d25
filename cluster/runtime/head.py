"""Is the head of the Ray cluster still there? Ray itself ends a driver that has lost it, and says so in a log only."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from teacher.wording import plain

logger = logging.getLogger(__name__)

KNOCK_SECONDS = 2.0
# How long Ray lets a driver try to reach a head that is gone, unless this setting says otherwise.
RAY_SETTING, RAY_SECONDS = "RAY_gcs_rpc_server_reconnect_timeout_s", 60.0


@contextmanager
def head_watched(address: str, screen: int) -> Iterator[None]:
    """End the process with one sentence, shortly before Ray would without any, when the head is gone for good.

    There is no other way out: whatever is asked of Ray then, its own shutdown too, waits until Ray ends the process.
    What was acknowledged lies in the store, and the same command resumes.

    Args:
        address: host and port of the head's control store.
        screen: the file descriptor that the user reads.
    """
    patience = 0.75 * float(os.environ.get(RAY_SETTING, RAY_SECONDS))
    done = threading.Event()

    def watch() -> None:
        answered, silent = time.monotonic(), False
        while not done.wait(min(KNOCK_SECONDS, patience / 4)):
            was_silent, silent = silent, not _answers(address)
            if silent != was_silent:
                state = "does not answer" if silent else "answers again"
                logger.warning("the head of the Ray cluster at %s %s", address, state)
            if not silent:
                answered = time.monotonic()
            elif time.monotonic() - answered > patience and not done.is_set():
                logger.error("%s", _sentence(address))
                os.write(screen, f"gallon: {plain(_sentence(address))}\n".encode())
                os._exit(1)

    thread = threading.Thread(target=watch, name="head", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
    except OSError:
        return False
    return True


def _sentence(address: str) -> str:
    return (
        f"The head of the Ray cluster at {address} is gone: start it again, or another cluster, then run the same "
        "command again; everything acknowledged so far is kept."
    )
