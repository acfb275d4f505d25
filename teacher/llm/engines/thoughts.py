"""Where a model's thoughts begin and end: in what it writes, and in what its chat template has written before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from teacher.errors import EngineRefusedError
from teacher.llm.completion import Thought
from teacher.llm.thinking import MARKS, OPENINGS

if TYPE_CHECKING:
    from vllm.config import VllmConfig

    from teacher.llm.thinking import Thinking

PROBE = "CCO"  # a message, after which a template leaves the model's turn as it leaves it after every other
GLANCE = 16  # tokens at the beginning of an answer: more than any mark has
# What is left of gpt-oss's marks, which are special tokens, where whoever decodes leaves those out.
HEADER = re.compile(r"^<\|message\|>|<\|end\|><\|start\|>assistant$")  # of gpt-oss's, between its marks and its words
BARE_THOUGHT, BARE_ANSWER = re.compile(r"\s*analysis(?=[A-Z]|.*assistantfinal)", re.DOTALL), "assistantfinal"

State = Literal["open", "closed", "none"]


@dataclass(frozen=True, slots=True)
class Marks:
    """The tokens around thoughts.

    Attributes:
        start, end: ids, one or several each.
        opened: whether the chat template has written `start` already.
    """

    start: tuple[int, ...]
    end: tuple[int, ...]
    opened: bool = False

    def split(self, ids: Sequence[int], *, held: bool) -> tuple[Sequence[int] | None, Sequence[int], bool]:
        """Tell thoughts from the answer.

        Args:
            ids: what the model wrote.
            held: whether a schema holds for the answer. Then it holds from the first end on; without one, thoughts may
                begin and end again, and the answer begins after the last end.

        Returns:
            The tokens of the thoughts without the marks around them, or None where nothing was thought; those of the
            answer; and whether the thoughts came to an end.
        """
        starts, ends = _places(ids, self.start), _places(ids, self.end)
        first = len(self.start) if starts[:1] == [0] else 0
        if not ends:
            return (ids[first:], [], False) if self.opened or first else (None, ids, True)
        end = ends[0] if held else ends[-1]
        if not held and starts and starts[-1] > end:
            return ids[first:], [], False
        return ids[first:end], ids[end + len(self.end) :], True


def thought_and_answer(
    ids: Sequence[int], marks: Marks, decode: Callable[[list[int]], str], *, held: bool
) -> tuple[Thought | None, str]:
    """Return what a model thought, and its answer, as text; see `Marks.split`."""
    thoughts, answer, ended = marks.split(ids, held=held)
    thought = None if thoughts is None else Thought(decode(list(thoughts)).strip(), len(thoughts), ended)
    return thought, decode(list(answer)).lstrip() if thought else decode(list(answer))


def unmarked_text(ids: Sequence[int], decode: Callable[..., str]) -> str:
    """Return what a model wrote whose marks are not known, with its special tokens where it begins with a thought.

    Marks may be such tokens: without them the thought would be taken for an answer, which `require_answer` refuses.
    """
    beginning = decode(list(ids[:GLANCE]), skip_special_tokens=False)
    return decode(list(ids), skip_special_tokens=not beginning.lstrip().startswith(OPENINGS))


def split_text(text: str) -> tuple[str | None, str]:
    """Return the thoughts that a server has left in a text, or None, and the answer."""
    for start, end in MARKS:
        if end in text:
            thought, _, answer = text.rpartition(end)
            return HEADER.sub("", thought.strip().removeprefix(start)).strip(), answer.lstrip()
        if text.lstrip().startswith(start):
            return HEADER.sub("", text.lstrip().removeprefix(start)).strip(), ""
    if bare := BARE_THOUGHT.match(text):
        thought, _, answer = text[bare.end() :].partition(BARE_ANSWER)
        return thought.strip(), answer.lstrip()
    return None, text


def state_after(rendered: str, marks: Iterable[tuple[str, str]]) -> State:
    """Tell what the last thought is that a rendered prompt begins after the user's message, if it begins any."""
    turn = rendered.rpartition(PROBE)[2]
    for start, end in marks:
        opened, closed = turn.rfind(start), turn.rfind(end)
        if opened > closed:
            return "open"
        if closed >= 0:
            return "closed"
    return "none"


def marks_of(config: VllmConfig, thinking: Thinking | None, chat_params: Any, name: str) -> Marks | None:
    """Return the marks of a model that is to think, after a look at what its chat template makes of that.

    Args:
        config: vLLM's.
        thinking: as the user wants it.
        chat_params: how conversations are rendered.
        name: of the model, for people.

    Raises:
        EngineRefusedError: the template does otherwise than the user wants, or the marks are not known.
    """
    from vllm.renderers import renderer_from_config

    renderer = renderer_from_config(config)
    message = {"role": "user", "content": [{"type": "text", "text": PROBE}]}
    _, (prompt,) = renderer.render_chat([[message]], chat_params)
    decode = renderer.get_tokenizer().decode
    rendered = decode(list(prompt["prompt_token_ids"]))
    if thinking is None or not thinking.on:
        if state_after(rendered, MARKS) == "open":
            raise EngineRefusedError(_not_asked_for(name, thinking))
        return None
    reasoning = config.reasoning_config
    start, end = (
        (reasoning.reasoning_start_token_ids, reasoning.natural_reasoning_end_token_ids) if reasoning else (None, None)
    )
    if not start or not end:
        raise EngineRefusedError(
            f"vLLM's reasoning parser {thinking.parser} does not say where thoughts begin and end: give another "
            "--reasoning-parser."
        )
    if not _knows_the_end(str(thinking.parser), renderer.get_tokenizer()):
        raise EngineRefusedError(
            f"vLLM's reasoning parser {thinking.parser} does not fit {name} (its vocabulary has no mark that ends "
            "thoughts): give another --reasoning-parser."
        )
    state = state_after(rendered, [(decode(start).strip(), decode(end).strip())])
    if state == "closed":
        raise EngineRefusedError(
            f"{name} does not think, for its chat template ends all thoughts before they begin: leave out --thinking."
        )
    return Marks(tuple(start), tuple(end), opened=state == "open")


def _not_asked_for(name: str, thinking: Thinking | None) -> str:
    if thinking is None:
        return (
            f"{name} thinks before it answers, for its chat template opens a thought: give --thinking on, a number of "
            "tokens, or --thinking off."
        )
    return (
        f"{name} thinks whatever it is told, for its chat template opens a thought: give --thinking on, or a number "
        "of tokens."
    )


def _knows_the_end(parser: str, tokenizer: Any) -> bool:
    """Tell whether a parser finds its mark in a vocabulary; most say so themselves, some would wait for ever."""
    from vllm.reasoning import ReasoningParserManager

    made = ReasoningParserManager.get_reasoning_parser(parser)(tokenizer)
    return bool(getattr(made, "reasoning_end_token_ids", True))


def _places(ids: Sequence[int], mark: Sequence[int]) -> list[int]:
    """Return where a mark begins, each time."""
    width = len(mark)
    return [place for place in range(len(ids) - width + 1) if tuple(ids[place : place + width]) == tuple(mark)]
