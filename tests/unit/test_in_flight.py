"""Requests that an engine has in its hands: what fails, and what takes too long."""

from __future__ import annotations

import time
from concurrent.futures import Future

import pytest

from cluster.in_flight import InFlight, Pulse, RequestTimeoutError
from teacher.engine import Completion, Request
from teacher.errors import EngineDeadError
from teacher.spec import Sampling

REQUEST = Request(["SMILES: C"], Sampling(max_tokens=1))
COMPLETION = Completion(text="text", finish_reason="stop", prompt_tokens=1, completion_tokens=1)


class Engine:
    """Hands out futures, which the test answers, or not."""

    def __init__(self) -> None:
        self.asked: list[Future[Completion]] = []

    def submit(self, request: Request) -> Future[Completion]:
        self.asked.append(Future())
        return self.asked[-1]

    def close(self) -> None: ...


class Refusing(Engine):
    def submit(self, request: Request) -> Future[Completion]:
        raise RuntimeError("no room")


def test_answers_come_beside_what_was_asked_about() -> None:
    engine = Engine()
    asked = InFlight[str](engine, 60, Pulse())
    for item in ("a", "b"):
        asked.submit(item, REQUEST)
    engine.asked[1].set_result(COMPLETION)
    assert [(item, answer.result()) for item, answer in asked.answered()] == [("b", COMPLETION)]
    engine.asked[0].set_exception(ValueError("odd"))
    ((item, answer),) = asked.answered()
    assert item == "a" and isinstance(answer.exception(), ValueError)
    assert asked.answered() == []


def test_what_an_engine_raises_when_it_is_asked_is_the_answer() -> None:
    asked = InFlight[str](Refusing(), 60, Pulse())
    asked.submit("a", REQUEST)
    ((item, answer),) = asked.answered()
    assert item == "a" and "no room" in str(answer.exception())


def test_a_request_that_takes_too_long_is_given_up_while_the_engine_answers_others() -> None:
    engine, pulse = Engine(), Pulse()
    asked = InFlight[str](engine, 0.2, pulse)
    asked.submit("slow", REQUEST)
    asked.submit("quick", REQUEST)
    time.sleep(0.01)
    engine.asked[1].set_result(COMPLETION)
    assert [item for item, _ in asked.answered()] == ["quick"]
    ((item, answer),) = asked.answered()
    assert item == "slow" and isinstance(answer.exception(), RequestTimeoutError)
    assert engine.asked[0].cancelled()
    asked.submit("next", REQUEST)
    engine.asked[2].set_result(COMPLETION)
    assert [item for item, _ in asked.answered()] == ["next"]  # and nothing more of the one that was given up


def test_an_engine_that_answers_nobody_is_dead() -> None:
    engine, pulse = Engine(), Pulse()
    asked, elsewhere = InFlight[str](engine, 0.2, pulse), InFlight[str](engine, 60, pulse)
    asked.submit("a", REQUEST)
    elsewhere.submit("b", REQUEST)
    with pytest.raises(EngineDeadError, match=r"answered nothing for 0\.2 s"):
        asked.answered()


def test_an_answer_to_another_thread_is_a_sign_of_life() -> None:
    engine, pulse = Engine(), Pulse()
    asked, elsewhere = InFlight[str](engine, 0.2, pulse), InFlight[str](engine, 60, pulse)
    asked.submit("a", REQUEST)
    elsewhere.submit("b", REQUEST)
    engine.asked[1].set_result(COMPLETION)
    ((item, answer),) = asked.answered()
    assert item == "a" and isinstance(answer.exception(), RequestTimeoutError)
