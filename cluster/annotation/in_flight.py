"""Requests in the hands of one engine, each with a time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from teacher.errors import EngineDeadError
from teacher.llm.completion import Completion
from teacher.llm.engine import Engine, Request

T = TypeVar("T")
Answer = Future[Completion]


class RequestTimeoutError(Exception):
    """The engine left this request unanswered for too long, while it answered what was asked later."""


class Pulse:
    """When an engine last answered, whichever thread had asked."""

    def __init__(self) -> None:
        self.last = 0.0

    def beat(self) -> None:
        """Note that the engine has just answered."""
        self.last = time.monotonic()


@dataclass(slots=True)
class _Asked(Generic[T]):
    """A request: what it is about, when it was asked, and since when the engine is past it."""

    item: T
    number: int
    asked: float
    overtaken: float | None = None


class InFlight(Generic[T]):
    """What one thread has asked an engine and not yet got back.

    How long a request waits for its turn says nothing about it: a slow engine may have a queue of hours. Its time runs
    from when the engine has answered one that was asked later. An engine is dead that answers nothing at all for as
    long.

    Args:
        engine: to ask.
        limit: seconds that the engine may take.
        pulse: of the engine, shared by all threads that ask it.
    """

    def __init__(self, engine: Engine, limit: float, pulse: Pulse) -> None:
        self._engine, self._limit, self._pulse = engine, limit, pulse
        self._waiting: dict[Answer, _Asked[T]] = {}  # those asked first come first
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._numbers = count()
        self._passed = 0  # all requests below this number have been overtaken

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
        self._waiting[answer] = _Asked(item, next(self._numbers), time.monotonic())
        answer.add_done_callback(self._answers.put)

    def answered(self) -> list[tuple[T, Answer]]:
        """Wait for an answer and return all that have come; what takes too long comes as `RequestTimeoutError`.

        Raises:
            EngineDeadError: the engine has answered nothing at all for as long as it may take.
        """
        found: list[tuple[T, Answer]] = []
        while self._waiting and not found:
            arrived = [answer for answer in self._arrived() if answer in self._waiting]
            self._overtake(arrived)
            found = [(self._waiting.pop(answer).item, answer) for answer in arrived] or self._overdue()
        return found

    def _arrived(self) -> list[Answer]:
        """Wait for one answer, no longer than until something is overdue, then take all that have come meanwhile."""
        arrived = []
        try:
            arrived.append(self._answers.get(timeout=max(0.0, self._next_deadline() - time.monotonic())))
            while True:
                arrived.append(self._answers.get_nowait())
        except Empty:
            return arrived

    def _note_pulse(self, answer: Answer) -> None:
        if _is_completion(answer):
            self._pulse.beat()

    def _next_deadline(self) -> float:
        oldest = next(iter(self._waiting.values()))
        return min(self._silent_since(), oldest.overtaken or math.inf) + self._limit

    def _silent_since(self) -> float:
        return max(self._pulse.last, next(iter(self._waiting.values())).asked)

    def _overtake(self, arrived: Sequence[Answer]) -> None:
        """Note of the requests before those that were answered that the engine is past them."""
        last = max((self._waiting[answer].number for answer in arrived if _is_completion(answer)), default=0)
        if last <= self._passed:
            return
        now = time.monotonic()
        for asked in self._waiting.values():
            if asked.number >= last:
                break
            if asked.overtaken is None:
                asked.overtaken = now
        self._passed = last

    def _overdue(self) -> list[tuple[T, Answer]]:
        """Give up what the engine has left behind for too long."""
        now = time.monotonic()
        if now - self._silent_since() >= self._limit:
            raise EngineDeadError(f"the engine has answered nothing for {self._limit:g} s")
        late = [
            answer
            for answer, asked in self._waiting.items()
            if asked.overtaken is not None and now - asked.overtaken >= self._limit
        ]
        reason = f"the engine has left it unanswered for {self._limit:g} s since it answered what was asked later"
        given_up = [(self._waiting.pop(answer).item, failed(RequestTimeoutError(reason))) for answer in late]
        for answer in late:
            answer.cancel()
        return given_up


def _is_completion(answer: Answer) -> bool:
    """Tell whether the engine has computed an answer; what it refuses to compute it may refuse out of turn."""
    return not answer.cancelled() and answer.exception() is None


def failed(error: BaseException) -> Answer:
    """Return an answer that is a failure."""
    answer: Answer = Future()
    answer.set_exception(error)
    return answer
