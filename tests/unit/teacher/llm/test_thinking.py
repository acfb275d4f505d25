"""Whether a model thinks: what users say, what it means to a model and to a spec, and what is done with thoughts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gallon.api.spec import resolve_spec
from gallon.config import SpecConfig
from teacher.errors import UsageError
from teacher.llm.completion import Completion, Thought
from teacher.llm.describer import Describer
from teacher.llm.engine import Request
from teacher.llm.engines.installed_vllm import known_parsers
from teacher.llm.engines.vllm_arguments import EngineSettings, vllm_config
from teacher.llm.models import identify, local_path
from teacher.llm.prompt import Prompt
from teacher.llm.request import retried
from teacher.llm.spec import Sampling, Spec
from teacher.llm.thinking import INNER, PARSERS, ROOM, Thinking, parse_thinking, parser_for
from teacher.llm.validation import RejectedError, require_answer, storable
from tests.support.scripted import Script, ScriptedEngine, true_answer

ON = Thinking(on=True, parser="deepseek_r1")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("on", Thinking(on=True)),
        ("Off", Thinking(on=False)),
        ("2048", Thinking(on=True, budget=2048)),
        (2048, Thinking(on=True, budget=2048)),
        (True, Thinking(on=True)),
    ],
)
def test_thinking_is_on_off_or_a_number_of_tokens(said: str, meant: Thinking) -> None:
    assert parse_thinking(said) == meant


@pytest.mark.parametrize("said", ["", "yes", "0", "-5", "1.5", "²"])
def test_anything_else_is_refused_in_one_sentence(said: str) -> None:
    with pytest.raises(UsageError, match=r"on, off or a number of tokens"):
        parse_thinking(said)


def test_a_family_is_known_by_its_configuration_or_by_that_of_its_language_model() -> None:
    assert parser_for({"model_type": "qwen3_vl"}) == "qwen3"
    for name in INNER:
        assert parser_for({"model_type": "internvl_chat", name: {"model_type": "qwen3"}}) == "qwen3"
    assert parser_for({"model_type": "llama"}) is None
    assert parser_for({}) is None


def test_vllm_has_every_parser_that_is_spoken_of() -> None:
    assert known_parsers() >= set(PARSERS.values())
    assert len(known_parsers()) > 20


def test_the_answer_has_its_own_room_beside_the_thoughts() -> None:
    sampling = Sampling(max_tokens=100)
    rooms = [Request([], sampling, thinking=how).max_tokens for how in (None, Thinking(on=False), ON)]
    assert rooms == [100, 100, 100 + ROOM]
    assert Request([], sampling, thinking=Thinking(on=True, budget=50)).max_tokens == 150


def test_thoughts_that_were_lost_are_ended_by_force_the_next_time_and_have_more_room(spec: Spec) -> None:
    first = Request([], Sampling(max_tokens=100), thinking=ON)
    assert retried(first, spec, 0, None).thinking == ON
    assert retried(first, spec, 1, "schema").thinking == ON
    rooms = [retried(first, spec, attempt, "thinking").thinking for attempt in (1, 2)]
    assert [room.budget for room in rooms if room] == [ROOM * 3 // 2, ROOM * 2]
    assert retried(first, spec, 1, "thinking").sampling.max_tokens == 100  # the answer was not what took too long
    assert retried(first, spec, 1, "finish").sampling.max_tokens == 150


def test_a_spec_without_thinking_or_an_adapter_keeps_the_id_that_it_had_before_there_were_any() -> None:
    fields = {"model": {"name": "m", "revision": "1"}, "prompt": {"name": "p", "version": 1, "digest": "d"}}
    spec = Spec.model_validate({**fields, "sampling": {"max_tokens": 9}})
    assert spec.id == "b1b18eeca4c69250"
    thinking = [Thinking(on=False), Thinking(on=True), Thinking(on=True, budget=9), ON]
    assert len({spec.id, *(spec.model_copy(update={"thinking": how}).id for how in thinking)}) == 5


def test_what_cannot_be_is_refused_before_anything_starts() -> None:
    with pytest.raises(UsageError, match=r"not known how tiny marks its thoughts: give .*--reasoning-parser"):
        resolve_spec(SpecConfig(thinking="on"))
    with pytest.raises(UsageError, match=r"no reasoning parser 'mine': choose one of .*deepseek_r1"):
        resolve_spec(SpecConfig(thinking="on", reasoning_parser="mine"))
    with pytest.raises(UsageError, match=r"give --thinking on as well"):
        resolve_spec(SpecConfig(reasoning_parser="qwen3"))
    with pytest.raises(UsageError, match=r"its own reasoning parser"):
        resolve_spec(SpecConfig(model="m", thinking="on", reasoning_parser="qwen3", endpoint="http://localhost/v1"))
    assert resolve_spec(SpecConfig(thinking="on", reasoning_parser="deepseek_r1")).spec.thinking == ON
    there = resolve_spec(SpecConfig(model="m", thinking="500", endpoint="http://localhost/v1")).spec
    assert there.thinking == Thinking(on=True, budget=500)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("mistral4", {"reasoning_effort": "none"}),
        ("minimax_m3_vl", {"thinking_mode": "disabled"}),
        ("qwen3", {}),
        ("llama", {}),
    ],
)
def test_a_family_with_a_word_of_its_own_is_told_by_it_not_to_think_and_the_schema_waits_for_nothing(
    kind: str, told: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    off = resolve_spec(SpecConfig(model=str(tmp_path), thinking="off")).spec.thinking
    assert off is not None and not off.on
    assert off.template_arguments == {"enable_thinking": False, "thinking": False, **told}
    assert (off == Thinking(on=False)) is not bool(told)  # all other families keep their specs
    tiny = identify("tiny")
    settings = EngineSettings(thinking=off, image_size=224)
    config = vllm_config(tiny, local_path("tiny"), settings, on_cpu=True, one_process=True)
    assert not config.structured_outputs_config.reasoning_parser


def test_a_server_is_told_not_to_think_as_all_are() -> None:
    there = resolve_spec(SpecConfig(model="mistralai/Mistral-Small-4", thinking="off", endpoint="http://h/v1")).spec
    assert there.thinking == Thinking(on=False)


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (Completion("", "length", 1, 9, Thought("It may", 9, ended=False)), "was cut off while it thought, after 9"),
        (Completion("", "stop", 1, 9, Thought("It may", 9, ended=False)), "ended while it thought, after 9"),
        (Completion("<think>It may", "length", 1, 9), "begins with a thought: give --thinking on, or"),
        (Completion("\n[THINK]It[/THINK]{}", "stop", 1, 9), "begins with a thought"),
        (Completion("<|channel|>analysis<|message|>It", "stop", 1, 9), "serve gpt-oss by 'vllm serve' and give --endp"),
    ],
)
def test_thoughts_are_no_answer(completion: Completion, reason: str) -> None:
    with pytest.raises(RejectedError, match=reason) as caught:
        require_answer(completion)
    assert caught.value.stage == "thinking"


@pytest.mark.parametrize("thought", [None, Thought("", 0), Thought("It is.", 2)])
def test_an_answer_after_a_thought_or_without_one_is_an_answer(thought: Thought | None) -> None:
    require_answer(Completion("{}", "stop", 1, 9, thought))


def test_a_thought_that_no_table_holds_is_stored_all_the_same() -> None:
    assert storable("a\0b\ud800c") == "a\ufffdb\ufffdc"


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    opened = ScriptedEngine(Script(lost=frozenset({"CCC"})))
    yield opened
    opened.close()


def test_a_description_carries_its_thoughts_apart_and_a_lost_one_comes_with_the_next_attempt(
    engine: ScriptedEngine, spec: Spec, describe: Prompt
) -> None:
    thoughtful = spec.model_copy(update={"thinking": ON})
    found, lost = Describer(engine, thoughtful, describe).describe(["CCO", "CCC"])
    assert (found.text, found.reasoning, found.attempts) == (true_answer("CCO"), "I see CCO.", 1)
    assert (lost.text, lost.reasoning, lost.attempts) == (true_answer("CCC"), "I see CCC.", 2)
    (given_up,) = Describer(engine, thoughtful, describe, max_attempts=1).describe(["CCC"])
    assert (given_up.text, given_up.error) == (None, f"was cut off while it thought, after {ROOM} tokens")
    assert Describer(engine, spec, describe).describe(["CCO"])[0].reasoning is None
