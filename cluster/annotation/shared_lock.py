"""A lock that many may share, or one holds exclusively."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock


class SharedLock:
    """Many threads may be inside together; one that wants to be alone waits for them to leave, and keeps others out."""

    def __init__(self) -> None:
        self._turn = Lock()  # of those who want to be alone
        self._changed = Condition()
        self._inside = 0
        self._reserved = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Be inside with others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._reserved)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be inside with nobody else."""
        with self._turn:
            with self._changed:
                self._reserved = True
                self._changed.wait_for(lambda: not self._inside)
            try:
                yield
            finally:
                with self._changed:
                    self._reserved = False
                    self._changed.notify_all()
