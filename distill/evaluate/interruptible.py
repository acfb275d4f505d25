"""Long calls into native code, which Python cannot interrupt: they run in a thread of their own.

An interrupt (Ctrl-C, SIGTERM) reaches the main thread between two of its own steps. While it is inside a library that
grows trees on 40,000 molecules, that is minutes later.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
NAME = "gallon-fit"


def interruptible(call: Callable[[], T]) -> T:
    """Return what a call returns, or raise what it raises; an interrupt meanwhile is raised at once.

    The thread is then told to stop, too: it does so at its next step in Python, after a round of boosting, say, and
    never keeps the process from ending.
    """
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:  # noqa: BLE001  # raised again below, where it belongs
            failed.append(error)

    thread = threading.Thread(target=run, name=NAME, daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        if thread.ident is not None:
            stop = ctypes.py_object(KeyboardInterrupt)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), stop)
        raise
    if failed:
        raise failed[0]
    return found[0]
