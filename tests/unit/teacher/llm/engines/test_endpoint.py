"""An OpenAI-compatible server in place of an engine: asked in full, waited for, and never believed blindly."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from PIL import Image

from teacher.errors import EngineDeadError, EngineRefusedError, EngineStartError
from teacher.llm.completion import Thought
from teacher.llm.engine import PromptRejectedError, Request
from teacher.llm.engines import endpoint
from teacher.llm.engines.endpoint import EndpointEngine, EndpointError, EndpointSettings
from teacher.llm.prompt import Picture, Prompt, Turn
from teacher.llm.request import build_request
from teacher.llm.spec import Sampling, Spec
from teacher.llm.thinking import Thinking
from tests.support.scripted import true_answer
from tests.support.server import KEY, MODEL, Behaviour, serving


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def url(behaviour: Behaviour) -> Iterator[str]:
    with serving(behaviour) as url:
        yield url


@pytest.fixture
def engine(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[EndpointEngine]:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    opened = EndpointEngine(EndpointSettings(url=url, model=MODEL, key=KEY, seconds=20.0))
    yield opened
    opened.close()


def request(smiles: str = "CCO", temperature: float = 0.0) -> Request:
    sampling = Sampling(max_tokens=50, temperature=temperature, seed=7)
    picture = Picture(Image.new("RGB", (32, 32), "white"), "white")
    return Request(["Look:", picture, f"SMILES: {smiles}"], sampling, {"type": "object"})


def test_the_server_is_asked_what_the_engine_would_be(
    engine: EndpointEngine, behaviour: Behaviour, spec: Spec, describe: Prompt
) -> None:
    built, _ = build_request("CCO", b"key", spec, describe)
    completion = engine.submit(built).result()
    assert (completion.text, completion.finish_reason) == (true_answer("CCO"), "stop")
    assert (completion.prompt_tokens, completion.completion_tokens) == (100, 20)
    (body,) = behaviour.asked
    assert spec.sampling is not None
    assert (body["model"], body["max_tokens"], body["temperature"]) == (MODEL, spec.sampling.max_tokens, 0.0)
    assert body["response_format"]["json_schema"]["schema"] == built.schema and "seed" not in body


def test_the_picture_stays_where_the_prompt_has_it_and_a_seed_goes_with_a_temperature(
    engine: EndpointEngine, behaviour: Behaviour
) -> None:
    engine.submit(request(temperature=0.5)).result()
    before, picture, after = behaviour.asked[0]["messages"][0]["content"]
    assert (before["text"], after["text"], behaviour.asked[0]["seed"]) == ("Look:", "SMILES: CCO", 7)
    kind, _, encoded = picture["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (32, 32)


def test_the_server_is_told_how_to_think_only_where_somebody_has_said_so(
    engine: EndpointEngine, behaviour: Behaviour
) -> None:
    for thinking in (None, Thinking(on=False), Thinking(on=True), Thinking(on=True, budget=500)):
        engine.submit(replace(request(), thinking=thinking)).result()
    unsaid, off, on, budget = behaviour.asked
    assert not {"chat_template_kwargs", "thinking_token_budget"} & unsaid.keys() and unsaid["max_tokens"] == 50
    assert off["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False} and off["max_tokens"] == 50
    assert on["chat_template_kwargs"]["enable_thinking"] and "thinking_token_budget" not in on
    assert (budget["thinking_token_budget"], budget["max_tokens"]) == (500, 550)


@pytest.mark.parametrize(
    ("message", "thought", "text"),
    [
        ({"content": "{}", "reasoning": "hm"}, Thought("hm", 8), "{}"),
        ({"content": "{}", "reasoning_content": "hm"}, Thought("hm", 0), "{}"),
        ({"content": "{}", "reasoning": None}, None, "{}"),
        ({"content": "<think>hm</think>{}"}, Thought("hm", 0), "{}"),
        ({"content": None, "reasoning": "hm"}, Thought("hm", 8, ended=False), ""),
        ({"content": "<think>hm"}, Thought("hm", 0, ended=False), ""),
    ],
)
def test_a_servers_thoughts_are_told_from_its_answer_with_or_without_a_parser(
    engine: EndpointEngine, behaviour: Behaviour, message: dict[str, str], thought: Thought | None, text: str
) -> None:
    behaviour.message = message
    completion = engine.submit(request()).result()
    assert (completion.thought, completion.text) == (thought, text)


def test_the_turns_before_the_question_are_sent_before_it(engine: EndpointEngine, behaviour: Behaviour) -> None:
    turns = (Turn("system", "You know."), Turn("user", "C"), Turn("assistant", "methane"))
    engine.submit(replace(request(), before=turns)).result()
    *before, question = behaviour.asked[0]["messages"]
    assert before == [{"role": turn.role, "content": turn.text} for turn in turns] and question["role"] == "user"


@pytest.mark.parametrize("faults", [[429, 503, 429], ["cut", "nonsense"], [500, "empty"], [502, 504]])
def test_what_is_wrong_for_the_moment_is_tried_again(
    engine: EndpointEngine, behaviour: Behaviour, faults: list[int | str]
) -> None:
    behaviour.faults = list(faults)
    assert engine.submit(request()).result(timeout=20).text == true_answer("CCO")
    assert len(behaviour.asked) == len(faults) + 1


def test_a_busy_server_cools_all_requests_down(engine: EndpointEngine, behaviour: Behaviour) -> None:
    behaviour.faults = [429] * 20
    answers = [engine.submit(request("C" * length)) for length in range(1, 60)]
    assert [answer.result(timeout=20).text for answer in answers] == [true_answer("C" * n) for n in range(1, 60)]
    assert len(behaviour.asked) == 59 + 20


@pytest.mark.parametrize(
    ("told", "seconds"), [("7", 7.0), ("7200", 60.0), ("-1", 0.0), ("Thu, 01 Jan 2099 00:00:00 GMT", 60.0)]
)
def test_a_server_is_left_alone_for_as_long_as_it_asks_but_a_minute_at_most(
    engine: EndpointEngine, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch, told: str, seconds: float
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(engine, "_cool_down", waits.append)
    behaviour.faults, behaviour.retry_after = [429], told
    assert engine.submit(request()).result(timeout=20).text
    assert waits == [seconds or 0.01]  # who asks for no time is given a little


@pytest.mark.parametrize("told", [None, "soon"])
def test_a_server_that_does_not_say_is_left_alone_for_longer_from_time_to_time(
    engine: EndpointEngine, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch, told: str | None
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(engine, "_cool_down", waits.append)
    behaviour.faults, behaviour.retry_after = [503, 503, 503], told
    assert engine.submit(request()).result(timeout=20).text
    assert waits == pytest.approx([0.01, 0.02, 0.04])


def test_what_one_request_is_told_holds_for_its_neighbours(
    engine: EndpointEngine, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert len(behaviour.asked) == 1  # nobody else has asked meanwhile
        engine._cool_until = 0.0

    behaviour.faults, behaviour.retry_after = [429], "7"
    monkeypatch.setattr(endpoint.asyncio, "sleep", sleep)
    assert engine.submit(request("C")).result(timeout=20).text
    assert len(slept) == 1 and 0 < slept[0] <= 7.1
    engine._cool_down(7)
    behaviour.asked[1:] = []
    assert engine.submit(request("CC")).result(timeout=20).text
    assert len(slept) == 2


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("nonsense", "HTTP 200, Expecting value"),
        ("cut", ""),
        (500, "HTTP 500, fault 500"),
        ("empty", "an answer without text"),
        ({"body": None}, "NoneType in the place of a JSON object"),
        ({"body": ["x"]}, "list in the place of a JSON object"),
        ({"body": {"choices": ["x"]}}, "str in the place of a JSON object"),
        ({"body": {"choices": [{"message": "x", "finish_reason": "stop"}]}}, "str in the place of a JSON object"),
        ({"body": {"choices": [{"message": {}}], "usage": [1]}}, "list in the place of a JSON object"),
    ],
)
def test_a_server_whose_answers_stay_broken_costs_one_attempt(
    engine: EndpointEngine, behaviour: Behaviour, fault: object, told: str
) -> None:
    behaviour.faults = [fault] * endpoint.BROKEN_TRIES
    if fault == "cut":  # is a connection that was lost, which is waited for until the deadline
        behaviour.faults *= 2
        assert engine.submit(request()).result(timeout=20).text
        return
    with pytest.raises(EndpointError, match=rf"answers are broken \(.*{told}"):
        engine.submit(request()).result(timeout=20)


def test_a_server_that_fails_everyone_costs_nobody_an_attempt(
    engine: EndpointEngine, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "ERRORS_IN_A_ROW", endpoint.BROKEN_TRIES - 1)
    monkeypatch.setattr(endpoint, "LONGEST_WAIT", endpoint.FIRST_WAIT)  # whoever has bad luck ten times waits 10 s else
    behaviour.faults = [500] * 120
    answers = [engine.submit(request("C" * length)) for length in range(1, 31)]
    assert [answer.result(timeout=20).text for answer in answers] == [true_answer("C" * n) for n in range(1, 31)]


@pytest.mark.parametrize("status", [429, 500])
def test_a_server_that_fails_until_the_deadline_is_quoted(
    url: str, behaviour: Behaviour, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "ERRORS_IN_A_ROW", 0)
    behaviour.faults = [status] * 100
    opened = EndpointEngine(EndpointSettings(url=url, model=MODEL, key=KEY, seconds=0.2))
    with pytest.raises(EndpointError, match=rf"until the deadline \(HTTP {status}: fault {status}"):
        opened.submit(request()).result(timeout=20)
    opened.close()


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_the_server_refuses_is_refused_at_once(
    engine: EndpointEngine, behaviour: Behaviour, status: int
) -> None:
    behaviour.faults = [status]
    with pytest.raises(PromptRejectedError, match=rf"refuses it \(HTTP {status}\): fault {status}"):
        engine.submit(request()).result(timeout=20)
    assert len(behaviour.asked) == 1


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, r"does not let us in any more \(HTTP 401\)"),
        (403, r"does not let us in any more \(HTTP 403\)"),
        (404, r"does not serve the model any more \(HTTP 404: fault 404\)"),
        (405, "does not serve the model any more"),
        (410, "does not serve the model any more"),
    ],
)
def test_a_server_that_has_shut_us_out_or_lost_the_model_is_a_dead_engine_and_no_molecules_fault(
    engine: EndpointEngine, behaviour: Behaviour, status: int, told: str
) -> None:
    behaviour.faults = [status]
    with pytest.raises(EngineDeadError, match=told):
        engine.submit(request()).result(timeout=20)


@pytest.mark.parametrize("status", [402, 409, 418])
def test_a_refusal_that_is_about_no_prompt_is_tried_again(
    engine: EndpointEngine, behaviour: Behaviour, status: int
) -> None:
    behaviour.faults = [status] * (endpoint.BROKEN_TRIES - 1)
    assert engine.submit(request()).result(timeout=20).text == true_answer("CCO")


def test_an_account_without_credit_is_waited_for(engine: EndpointEngine, behaviour: Behaviour) -> None:
    behaviour.faults = [402] * (2 * endpoint.BROKEN_TRIES)
    assert engine.submit(request()).result(timeout=20).text == true_answer("CCO")


def test_a_model_that_knows_another_name_for_the_longest_answer_is_told_by_that_name(
    engine: EndpointEngine, behaviour: Behaviour
) -> None:
    behaviour.newest = True
    for _ in range(2):
        assert engine.submit(request()).result().text == true_answer("CCO")
    limits = [[name for name in ("max_tokens", "max_completion_tokens") if name in body] for body in behaviour.asked]
    assert limits == [["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]
    assert behaviour.asked[-1]["max_completion_tokens"] == 50


def test_a_server_that_draws_no_several_samples_ends_the_run_at_its_first_answer(url: str) -> None:
    settings = EndpointSettings(url=url, model=MODEL, key=KEY, samples=8)
    opened = EndpointEngine(settings)
    with pytest.raises(EngineDeadError, match=r"draws no several samples \(n\): leave out --samples"):
        opened.submit(replace(request(temperature=0.5), samples=8)).result(timeout=20)
    opened.close()
    EndpointEngine(replace(settings, samples=1)).close()  # who leaves it out is served
    with pytest.raises(EngineRefusedError, match=r"draws no several samples \(n\): leave out --samples"):
        EndpointEngine(settings)
    EndpointEngine(settings).close()  # a later run finds out for itself


def test_all_samples_of_a_server_are_taken(engine: EndpointEngine, behaviour: Behaviour) -> None:
    choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in ("a", "b")]
    behaviour.faults = [{"body": {"choices": choices}}]
    completion = engine.submit(replace(request(temperature=0.5), samples=2)).result(timeout=20)
    assert [completion.text, *(other.text for other in completion.others)] == ["a", "b"]


def test_a_server_that_never_answers_is_given_up_at_the_deadline(url: str, behaviour: Behaviour) -> None:
    behaviour.faults = ["hang"]
    opened = EndpointEngine(EndpointSettings(url=url, model=MODEL, key=KEY, seconds=0.2))
    with pytest.raises(EndpointError, match="did not answer in time"):
        opened.submit(request()).result(timeout=20)
    assert opened.submit(request()).result(timeout=20).text
    opened.close()


def test_what_is_unfinished_when_it_is_closed_ends(engine: EndpointEngine, behaviour: Behaviour) -> None:
    behaviour.faults = ["hang"]
    waiting = engine.submit(request())
    engine.close()
    with pytest.raises(EngineDeadError):
        waiting.result(timeout=20)
    with pytest.raises(EngineDeadError):
        engine.submit(request()).result(timeout=20)


def test_a_wrong_address_key_or_model_is_told_in_one_sentence(url: str) -> None:
    with pytest.raises(EngineRefusedError, match=r"does not let us in .*GALLON_ENDPOINT_KEY"):
        EndpointEngine(EndpointSettings(url=url, model=MODEL))
    with pytest.raises(EngineRefusedError, match="has no model 'another': it has some/model"):
        EndpointEngine(EndpointSettings(url=url, model="another", key=KEY))
    with pytest.raises(EngineStartError, match="No OpenAI-compatible server answers"):
        EndpointEngine(EndpointSettings(url="http://127.0.0.1:9/v1", model=MODEL))


def test_a_server_that_fails_while_it_starts_may_be_asked_again(url: str, behaviour: Behaviour) -> None:
    behaviour.models = 500
    with pytest.raises(EngineStartError, match=r"fails \(HTTP 500") as failed:
        EndpointEngine(EndpointSettings(url=url, model=MODEL, key=KEY))
    assert not isinstance(failed.value, EngineRefusedError)


def test_the_key_is_not_shown_though_the_server_repeats_it(engine: EndpointEngine, behaviour: Behaviour) -> None:
    behaviour.words = f"fault {{}} of Bearer {KEY}"
    for fault in (400, 500):
        behaviour.faults = [fault] * endpoint.BROKEN_TRIES
        with pytest.raises((EndpointError, PromptRejectedError), match=rf"fault {fault} of Bearer \*\*\*"):
            engine.submit(request()).result(timeout=20)
    assert KEY not in repr(EndpointSettings(url="http://h/v1", model=MODEL, key=KEY))
    assert json.dumps(KEY) not in str(EndpointSettings(url="http://h/v1", model=MODEL, key=KEY))


def test_the_key_is_not_shown_though_a_library_quotes_what_it_sends(
    engine: EndpointEngine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise httpx.LocalProtocolError(f"Illegal header value b'{'x' * 170} {KEY}'")

    monkeypatch.setattr(httpx.AsyncClient, "get", refused)
    with pytest.raises(EngineStartError, match=r"Illegal header value .* \*\*\*") as failed:
        EndpointEngine(EndpointSettings(url=url, model=MODEL, key=KEY))
    assert KEY[:4] not in str(failed.value)
