"""What people read: nouns that agree with their numbers, and text that a terminal can show."""

from __future__ import annotations


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return a number with the noun that it counts: `1 row`, `2,000 rows`.

    Args:
        number: how many.
        thing: the noun in the singular.
        things: its plural, where that is not the singular and an `s`.
    """
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def plain(text: str) -> str:
    """Return `text` fit for a terminal: what an LLM or a file wrote may hold control characters."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
