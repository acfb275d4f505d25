"""Words that agree with a number."""

from __future__ import annotations


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return a number with the noun that it counts: `1 row`, `2,000 rows`.

    Args:
        number: how many.
        thing: the noun in the singular.
        things: its plural, where that is not the singular and an `s`.
    """
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
