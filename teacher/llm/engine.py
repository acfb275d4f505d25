"""What an annotator needs of an engine: chat requests in, completions out. `teacher.llm.engines` has them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from teacher.llm.completion import Completion
from teacher.llm.prompt import Content, Turn
from teacher.llm.spec import Sampling
from teacher.llm.thinking import Thinking


class PromptRejectedError(ValueError):
    """The engine refuses this prompt (it is longer than the model's context, say); others are not affected."""


@dataclass(frozen=True, slots=True)
class Request:
    """The user's message, how to sample, the JSON schema that the answer is held to, if any, and the turns before.

    Attributes:
        before: the turns of the conversation that come before the message.
        thinking: whether the LLM thinks first; None leaves it to its chat template.
        samples: answers that are drawn, each with a seed of its own.
    """

    content: Content
    sampling: Sampling
    schema: dict[str, Any] | None = None
    before: tuple[Turn, ...] = ()
    thinking: Thinking | None = None
    samples: int = 1

    @property
    def max_tokens(self) -> int:
        """Tokens that may be written, thoughts and answer together."""
        return self.sampling.max_tokens + (self.thinking.room if self.thinking else 0)


class Engine(Protocol):
    """What serves requests. Futures fail with `PromptRejectedError` or `EngineDeadError`.

    Whoever finds the engine dead closes it while others may still ask it: every future ends, before or after.
    """

    def submit(self, request: Request) -> Future[Completion]:
        """Queue a request and return at once."""
        ...

    def close(self) -> None:
        """Stop the engine and free what it holds."""
        ...
