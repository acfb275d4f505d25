"""Long calls into native code, which Python cannot interrupt: they run in a thread of their own.

An interrupt (Ctrl-C, SIGTERM) reaches the main thread between two of its own steps. While it is inside a library that
grows trees on 40,000 molecules, that is minutes later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
NAME = "gallon-fit"
LOOK_SECONDS = 0.1


def interruptible(call: Callable[[threading.Event], T]) -> T:
    """Return what a call returns, or raise what it raises; an interrupt meanwhile is raised at once.

    Args:
        call: is given an event that an interrupt sets: what runs in many steps looks at it between two of them, and
            ends. (An exception that is set in another thread is lost where a library calls back from native code, as
            XGBoost does: such trees grew on.) The thread never keeps the process from ending.
    """
    stop, ended = threading.Event(), threading.Event()
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call(stop))
        except BaseException as error:  # noqa: BLE001  # raised again below, where it belongs
            failed.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name=NAME, daemon=True)
    try:
        thread.start()
        while not ended.wait(LOOK_SECONDS):
            pass  # a wait without an end is not broken by a signal once LightGBM has been at work
    except BaseException:
        stop.set()
        raise
    if failed:
        raise failed[0]
    return found[0]
