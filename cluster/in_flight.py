"""Requests in the hands of one engine, each with a time limit."""

from __future__ import annotations

import time
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from teacher.engine import Completion, Engine, Request
from teacher.errors import EngineDeadError

T = TypeVar("T")
Answer = Future[Completion]


class RequestTimeoutError(Exception):
    """The engine did not answer this request in time, though it answered others."""


class Pulse:
    """When an engine last answered, whichever thread had asked."""

    def __init__(self) -> None:
        self._last = 0.0

    def beat(self) -> None:
        """Note that the engine has just answered."""
        self._last = time.monotonic()

    def since(self, moment: float) -> bool:
        """Tell whether the engine has answered anything since a moment of the monotonic clock."""
        return self._last >= moment


class InFlight(Generic[T]):
    """What one thread has asked an engine and not yet got back.

    Args:
        engine: to ask.
        limit: seconds that a request may take.
        pulse: of the engine, shared by all threads that ask it.
    """

    def __init__(self, engine: Engine, limit: float, pulse: Pulse) -> None:
        self._engine, self._limit, self._pulse = engine, limit, pulse
        self._waiting: dict[Answer, tuple[T, float]] = {}  # with the time of asking; the longest asked come first
        self._answers: SimpleQueue[Answer] = SimpleQueue()

    def submit(self, item: T, request: Request) -> None:
        """Ask the engine; the answer comes back beside `item`, also where the engine refuses to take the request."""
        try:
            answer = self._engine.submit(request)
        # Whatever an engine raises over one request is that request's own answer.
        except Exception as error:  # noqa: BLE001
            answer = failed(error)
        else:
            answer.add_done_callback(self._note_pulse)
        self.expect(item, answer)

    def expect(self, item: T, answer: Answer) -> None:
        """Take in an answer that is there already, or will be."""
        self._waiting[answer] = (item, time.monotonic())
        answer.add_done_callback(self._answers.put)

    def answered(self) -> list[tuple[T, Answer]]:
        """Wait for an answer and return all that have come; what takes too long comes as `RequestTimeoutError`.

        Raises:
            EngineDeadError: the engine has answered nothing at all for as long as a request may take.
        """
        found: list[tuple[T, Answer]] = []
        while self._waiting and not found:
            found = [self._taken(answer) for answer in self._arrived() if answer in self._waiting]
            found = found or self._overdue()
        return found

    def _arrived(self) -> list[Answer]:
        """Wait for one answer, no longer than until the next one is overdue, then take all that have come meanwhile."""
        arrived = []
        left = self._limit - (time.monotonic() - self._oldest)
        try:
            arrived.append(self._answers.get(timeout=max(0.0, left)))
            while True:
                arrived.append(self._answers.get_nowait())
        except Empty:
            return arrived

    def _note_pulse(self, answer: Answer) -> None:
        if not answer.cancelled():
            self._pulse.beat()

    @property
    def _oldest(self) -> float:
        return next(iter(self._waiting.values()))[1]

    def _taken(self, answer: Answer) -> tuple[T, Answer]:
        item, _ = self._waiting.pop(answer)
        return item, answer

    def _overdue(self) -> list[tuple[T, Answer]]:
        """Give up what has taken too long, while the engine is well otherwise."""
        now = time.monotonic()
        late = [answer for answer, (_, asked) in self._waiting.items() if now - asked >= self._limit]
        if late and not self._pulse.since(self._oldest):
            raise EngineDeadError(f"the engine has answered nothing for {self._limit:g} s")
        given_up = []
        for answer in late:
            item, _ = self._taken(answer)
            answer.cancel()
            given_up.append((item, failed(RequestTimeoutError(f"the engine gave no answer within {self._limit:g} s"))))
        return given_up


def failed(error: BaseException) -> Answer:
    """Return an answer that is a failure."""
    answer: Answer = Future()
    answer.set_exception(error)
    return answer
