"""The text that the tokenizer learns its words from: the prompts, answers to them, and the words of the vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teacher.catalog import Prompt

TEACHER = Path(__file__).parents[1]
GROUPS_PER_ANSWER = 3


def files() -> list[Path]:
    """Return the files that decide the corpus, in a fixed order."""
    return [*sorted((TEACHER / "prompts").glob("*.yaml")), TEACHER / "groups.yaml"]


def texts() -> Iterator[str]:
    """Yield the prompts and an answer once for every functional group, then the files themselves.

    So the words that every conversation holds come first, and those of comments and aliases fill what room is left.
    There are no SMILES: they are spelt (see `tokenizer`).
    """
    from teacher import catalog, facts

    prompts = [_message(catalog.load(name)) for name in catalog.names()]
    groups = facts.vocabulary()
    for first in range(len(groups)):
        yield from prompts
        yield _answer([groups[(first + step) % len(groups)] for step in range(GROUPS_PER_ANSWER)])
    for file in files():
        yield file.read_text(encoding="utf-8")


def _message(prompt: Prompt) -> str:
    parts = prompt.fill(task="", smiles="", graph="")
    return "\n".join(part for part in parts if isinstance(part, str))


def _answer(groups: list[str]) -> str:
    """Write an answer to the `describe` prompt, in the compact JSON that structured outputs enforce."""
    *others, last = groups
    fields = {
        "functional_groups": groups,
        "aromatic_rings": 1,
        "aliphatic_rings": 0,
        "polarity": "low",
        "lipophilicity": "high",
        "description": f"An aromatic molecule with one ring that carries {', '.join(others)} and {last} groups.",
    }
    return json.dumps(fields, separators=(",", ":"))
