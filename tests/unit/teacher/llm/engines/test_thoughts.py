"""Where thoughts begin and end: in tokens, in a server's text, and in what a template leaves behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from teacher.llm.completion import Completion, Thought
from teacher.llm.engines.thoughts import GLANCE, Marks, split_text, state_after, thought_and_answer
from teacher.llm.engines.vllm_engine import VllmEngine
from teacher.llm.thinking import MARKS as ALL_MARKS
from teacher.llm.validation import RejectedError, require_answer

OPEN, CLOSE, THOUGHT, ANSWER = 1, 2, 50, 60
MARKS, OPENED = Marks((OPEN,), (CLOSE,)), Marks((OPEN,), (CLOSE,), opened=True)


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize(
    ("marks", "ids", "thoughts", "answer", "ended"),
    [
        (MARKS, [OPEN, THOUGHT, CLOSE, ANSWER], [THOUGHT], [ANSWER], True),
        (OPENED, [THOUGHT, CLOSE, ANSWER], [THOUGHT], [ANSWER], True),
        (OPENED, [OPEN, THOUGHT, CLOSE, ANSWER], [THOUGHT], [ANSWER], True),  # opened twice
        (MARKS, [THOUGHT, CLOSE, ANSWER], [THOUGHT], [ANSWER], True),  # never opened
        (OPENED, [CLOSE, ANSWER], [], [ANSWER], True),  # empty
        (MARKS, [OPEN, CLOSE, ANSWER], [], [ANSWER], True),
        (OPENED, [THOUGHT, THOUGHT], [THOUGHT, THOUGHT], [], False),  # unfinished
        (MARKS, [OPEN, THOUGHT], [THOUGHT], [], False),
        (OPENED, [], [], [], False),
        (OPENED, [THOUGHT, CLOSE], [THOUGHT], [], True),  # without an answer
        (MARKS, [ANSWER], None, [ANSWER], True),  # without a thought
        (MARKS, [], None, [], True),
    ],
)
def test_thoughts_and_answer_are_told_apart(
    marks: Marks, ids: list[int], thoughts: list[int] | None, answer: list[int], ended: bool, held: bool
) -> None:
    assert marks.split(ids, held=held) == (thoughts, answer, ended)


def test_nested_thoughts_are_thoughts_until_the_last_has_ended() -> None:
    nested = [OPEN, THOUGHT, OPEN, THOUGHT, CLOSE, THOUGHT, CLOSE, ANSWER]
    assert MARKS.split(nested, held=False) == (nested[1:-2], [ANSWER], True)
    assert MARKS.split([OPEN, THOUGHT, CLOSE, ANSWER, OPEN, THOUGHT], held=False)[2] is False


def test_a_schema_holds_from_the_first_end_on_and_so_does_the_answer() -> None:
    assert MARKS.split([OPEN, THOUGHT, OPEN, CLOSE, ANSWER, CLOSE, ANSWER], held=True) == (
        [THOUGHT, OPEN],
        [ANSWER, CLOSE, ANSWER],
        True,
    )


def test_marks_may_be_several_tokens_long() -> None:
    marks = Marks((7, 8), (8, 9))
    assert marks.split([7, 8, THOUGHT, 8, 8, 9, ANSWER], held=True) == ([THOUGHT, 8], [ANSWER], True)
    assert marks.split([7, THOUGHT], held=True) == (None, [7, THOUGHT], True)


def test_thoughts_are_counted_without_their_marks() -> None:
    words = {THOUGHT: " hm\n", ANSWER: "\n\n{}"}

    def decode(ids: list[int]) -> str:
        return "".join(words[each] for each in ids)

    told = thought_and_answer([OPEN, THOUGHT, THOUGHT, CLOSE, ANSWER], MARKS, decode, held=True)
    assert told == (Thought("hm\n hm", 2), "{}")
    assert thought_and_answer([ANSWER], MARKS, decode, held=True) == (None, "\n\n{}")


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("{}", None, "{}"),
        ("<think>\nhm\n</think>\n\n{}", "hm", "{}"),
        ("hm</think>{}", "hm", "{}"),
        ("[THINK]hm[/THINK]{}", "hm", "{}"),
        ("<think>hm", "hm", ""),
        ("<think></think>{}", "", "{}"),
        ("<think>a<think>b</think>c</think>{}", "a<think>b</think>c", "{}"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{}", "hm", "{}"),
        ("analysisWe see.assistantfinalAn ester.", "We see.", "An ester."),  # gpt-oss's marks without special tokens
        ("analysisWe see", "We see", ""),
        ("analysis of an ester", None, "analysis of an ester"),
    ],
)
def test_what_a_server_leaves_in_one_text_is_told_apart(text: str, thought: str | None, answer: str) -> None:
    assert split_text(text) == (thought, answer)


def written(*tokens: str) -> Completion:
    """What the engine makes of tokens where nobody asked for thoughts; those in brackets are special, and the last."""

    def decode(ids: list[int], *, skip_special_tokens: bool) -> str:
        return "".join(tokens[each] for each in ids if not (skip_special_tokens and tokens[each][0] in "<["))

    engine: Any = VllmEngine.__new__(VllmEngine)
    tokenizer = SimpleNamespace(decode=decode)
    engine._marks, engine._llm = None, SimpleNamespace(renderer=SimpleNamespace(get_tokenizer=lambda: tokenizer))
    answer: Any = SimpleNamespace(token_ids=range(len(tokens)), finish_reason="stop")
    return engine._completion(answer, held=False)


@pytest.mark.parametrize(
    "tokens",
    [
        ("[THINK]", "It may", "[/THINK]", "An ester.", "</s>"),
        ("<|channel|>", "analysis", "<|message|>", "It may", "<|end|>"),
        ("<|channel|>", "final", "<|message|>", "An ester.", "<|return|>"),
    ],
)
def test_a_thought_that_nobody_asked_for_is_no_answer_though_its_marks_are_special_tokens(
    tokens: tuple[str, ...],
) -> None:
    with pytest.raises(RejectedError, match="begins with a thought"):
        require_answer(written(*tokens))


def test_an_answer_that_begins_with_no_thought_has_no_special_tokens_in_it() -> None:
    completion = written("<s>", "An ester", "[THINK]", ".", "</s>")
    require_answer(completion)
    assert completion.text == "An ester."


def test_a_glance_at_an_answer_sees_every_mark() -> None:
    assert max(len(start.encode()) for start, _ in ALL_MARKS) < 2 * GLANCE  # no tokenizer writes one byte by byte


@pytest.mark.parametrize(
    ("turn", "state"),
    [
        ("Assistant:", "none"),
        ("Assistant:<think>\n", "open"),
        ("Assistant:<think>\n\n</think>\n\n", "closed"),
        ("[/INST][THINK]", "open"),
    ],
)
def test_a_template_is_seen_to_leave_a_thought_open(turn: str, state: str) -> None:
    marks = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))
    assert state_after(f"System: first <think> about it.\nUser: CCO\n{turn}", marks) == state
