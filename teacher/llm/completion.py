"""What an LLM wrote: its answer, and what it thought before."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thought:
    """What the LLM wrote before it answered: the text without its marks, its tokens, and whether it came to an end."""

    text: str
    tokens: int
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Completion:
    """What the LLM wrote, why it stopped (`stop`, `length` or `abort`), and the token counts.

    Attributes:
        text: the answer, without thoughts.
        completion_tokens: of all that was written, thoughts included.
        thought: what came before the answer, if anything.
        others: further samples of the same request; their prompt tokens are counted with the first.
    """

    text: str
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    thought: Thought | None = None
    others: tuple[Completion, ...] = ()

    @property
    def samples(self) -> int:
        """How many answers there are."""
        return 1 + len(self.others)

    @property
    def written(self) -> int:
        """Completion tokens of all samples."""
        return self.completion_tokens + sum(other.completion_tokens for other in self.others)

    @property
    def thought_tokens(self) -> int:
        """Those of them that are thoughts."""
        return sum(each.thought.tokens for each in (self, *self.others) if each.thought)
