"""A conversation with the `tiny` model as token ids: exactly those that vLLM makes of the same request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Template

from teacher.tiny.checkpoint import CHAT_TEMPLATE
from teacher.tiny.model import IMAGE_TOKENS
from teacher.tiny.tokenizer import AROUND_IMAGE, END, IMAGE, WHOLE_IMAGE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from teacher.llm.prompt import Content

# What Idefics3's processor puts for a picture that is not cut into tiles.
PICTURE = f"{AROUND_IMAGE}{WHOLE_IMAGE}{IMAGE * IMAGE_TOKENS}{AROUND_IMAGE}"
TEMPLATE = Template(CHAT_TEMPLATE)


def question(content: Content, words: Tokenizer) -> list[int]:
    """Return the tokens of a user's message, up to where the answer begins."""
    parts = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in content]
    text = TEMPLATE.render(messages=[{"role": "user", "content": parts}], add_generation_prompt=True)
    return words.encode(text.replace(IMAGE, PICTURE)).ids


def answer(text: str, words: Tokenizer) -> list[int]:
    """Return the tokens of an answer and of its end."""
    return words.encode(text + END).ids
