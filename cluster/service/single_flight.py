"""Who asks for what is on its way already waits for that, rather than have it made twice."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Calls on their way, by what they are about; to be used in one event loop."""

    def __init__(self) -> None:
        self._calls: dict[bytes, asyncio.Task[T]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, key: bytes) -> bool:
        return key in self._calls

    def share(self, key: bytes, call: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Future[T]:
        """Return, to be awaited, what comes of the call about `key` that is on its way, or of one that is made now.

        The call goes on when whoever asked is gone: others may wait for it, and what it stores is of use later.
        """
        task = self._calls.get(key)
        if task is None:
            # In a context of its own, since Ray Serve cancels what was called in that of a request with the request.
            task = self._calls[key] = asyncio.create_task(call(), context=contextvars.Context())
            task.add_done_callback(lambda done: self._landed(key, done))
        return asyncio.shield(task)

    def _landed(self, key: bytes, task: asyncio.Task[T]) -> None:
        del self._calls[key]
        if not task.cancelled():
            task.exception()  # is looked at, so that nobody complains where all who asked are gone
