"""An event loop in a thread of its own, to which any thread submits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from teacher.errors import EngineDeadError

T = TypeVar("T")
CLOSED = "the engine was closed while it worked on this request"
CLOSE_SECONDS = 10


class EventLoop:
    """Runs coroutines for an engine until it is closed; then every future ends, and later ones have failed at once.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._closing = threading.Lock()
        self.closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, while the engine starts."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def submit(self, answer: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start a coroutine and return at once; after the end its future has failed with `EngineDeadError`."""
        with self._closing:
            if not self.closed:
                return asyncio.run_coroutine_threadsafe(_alive(answer()), self._loop)
        refused: Future[T] = Future()
        refused.set_exception(EngineDeadError(CLOSED))
        return refused

    def cancel(self) -> bool:
        """Take nothing more, and fail what is unfinished; return whether that had not been done before."""
        with self._closing:
            if self.closed:
                return False
            self.closed = True
        wait([asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop)], timeout=CLOSE_SECONDS)
        return True

    def finish(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a last coroutine, for no longer than a few seconds."""
        wait([asyncio.run_coroutine_threadsafe(coroutine, self._loop)], timeout=CLOSE_SECONDS)

    def stop(self) -> None:
        """Stop the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=CLOSE_SECONDS)


async def _alive(answer: Coroutine[Any, Any, T]) -> T:
    try:
        return await answer
    except asyncio.CancelledError as error:
        raise EngineDeadError(CLOSED) from error


async def _cancel_others() -> None:
    """Cancel whatever else runs in this event loop, and see it end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
