"""Something small that is done again and again beside the main work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def run_periodically(seconds: float, act: Callable[[], None], name: str) -> Iterator[None]:
    """Act every so many seconds while the body runs, in a thread of this name, which has ended when the body has."""
    done = threading.Event()

    def keep_acting() -> None:
        while not done.wait(seconds):
            act()

    thread = threading.Thread(target=keep_acting, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
