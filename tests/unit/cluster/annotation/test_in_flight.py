"""Requests that an engine has in its hands: what fails, and what takes too long."""

from __future__ import annotations

import time
from concurrent.futures import Future
from threading import Thread, Timer

import pytest

from cluster.annotation.in_flight import InFlight, Pulse, RequestTimeoutError
from cluster.runtime.periodic import run_periodically
from teacher.errors import EngineDeadError
from teacher.llm.completion import Completion
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.spec import Sampling

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


def test_a_request_is_given_up_that_the_engine_has_left_behind() -> None:
    engine = Engine()
    asked = InFlight[str](engine, 0.6, Pulse())
    for item in ("left behind", "quick", "quick too"):
        asked.submit(item, REQUEST)
    engine.asked[1].set_result(COMPLETION)
    assert [item for item, _ in asked.answered()] == ["quick"]
    Timer(0.3, engine.asked[2].set_result, [COMPLETION]).start()  # so that the engine does not fall silent
    assert [item for item, _ in asked.answered()] == ["quick too"]
    ((item, answer),) = asked.answered()
    assert item == "left behind" and isinstance(answer.exception(), RequestTimeoutError)
    assert engine.asked[0].cancelled()
    asked.submit("next", REQUEST)
    engine.asked[3].set_result(COMPLETION)
    assert [item for item, _ in asked.answered()] == ["next"]  # and nothing more of the one that was given up


def test_a_refusal_out_of_turn_leaves_nobody_behind() -> None:
    engine = Engine()
    asked = InFlight[str](engine, 1.0, Pulse())
    for item in ("first", "refused", "last"):
        asked.submit(item, REQUEST)
    engine.asked[1].set_exception(PromptRejectedError("too long"))
    assert [item for item, _ in asked.answered()] == ["refused"]
    Thread(target=answer_one_by_one, args=(engine.asked[::2], 0.6)).start()
    assert [asked.answered()[0][0] for _ in range(2)] == ["first", "last"]


def test_however_long_a_request_waits_for_its_turn_it_is_not_given_up() -> None:
    """A slow engine that answers one after the other: the last one waits for many times the limit."""
    engine = Engine()
    asked = InFlight[int](engine, 0.3, Pulse())
    for number in range(12):
        asked.submit(number, REQUEST)
    answering = Thread(target=answer_one_by_one, args=(engine.asked, 0.1))
    answering.start()
    found = [pair for _ in range(12) for pair in asked.answered()]
    answering.join()
    assert [(number, answer.result()) for number, answer in found] == [(number, COMPLETION) for number in range(12)]


def test_who_still_waits_for_its_turn_is_not_given_up_with_one_that_is() -> None:
    engine, pulse = Engine(), Pulse()
    asked = InFlight[str](engine, 0.4, pulse)
    for item in ("left behind", "quick", "waiting"):
        asked.submit(item, REQUEST)
    engine.asked[1].set_result(COMPLETION)
    assert [item for item, _ in asked.answered()] == ["quick"]
    with run_periodically(0.05, pulse.beat, "an engine that is busy with others"):
        assert [item for item, _ in asked.answered()] == ["left behind"]
    engine.asked[2].set_result(COMPLETION)
    assert [item for item, _ in asked.answered()] == ["waiting"]


def answer_one_by_one(answers: list[Future[Completion]], seconds: float) -> None:
    for answer in answers:
        time.sleep(seconds)
        answer.set_result(COMPLETION)


def test_an_engine_that_answers_nobody_any_more_is_dead() -> None:
    engine, pulse = Engine(), Pulse()
    asked, elsewhere = InFlight[str](engine, 0.2, pulse), InFlight[str](engine, 60, pulse)
    asked.submit("a", REQUEST)
    asked.submit("b", REQUEST)
    elsewhere.submit("c", REQUEST)
    engine.asked[0].set_result(COMPLETION)
    assert [item for item, _ in asked.answered()] == ["a"]
    with pytest.raises(EngineDeadError, match=r"answered nothing for 0\.2 s"):
        asked.answered()


def test_an_answer_to_another_thread_is_a_sign_of_life() -> None:
    engine, pulse = Engine(), Pulse()
    asked, elsewhere = InFlight[str](engine, 1.0, pulse), InFlight[str](engine, 60, pulse)
    asked.submit("a", REQUEST)
    elsewhere.submit("b", REQUEST)
    Timer(0.5, engine.asked[1].set_result, [COMPLETION]).start()
    Timer(1.2, engine.asked[0].set_result, [COMPLETION]).start()
    assert [item for item, _ in asked.answered()] == ["a"]
