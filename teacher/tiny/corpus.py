"""The text that the tokenizer learns its words from: the prompts, answers to them, and the words of the vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from teacher.tiny import answers

if TYPE_CHECKING:
    from teacher.catalog import Prompt

TEACHER = Path(__file__).parents[1]
GROUPS_PER_ANSWER = 3
HEAVY_ATOMS = (10, 20, 40)  # one of each size that a description tells apart


def texts() -> Iterator[str]:
    """Yield the prompts and an answer once for every functional group, then the prompt files and `groups.yaml`.

    So the words that every conversation holds come first, and those of comments and aliases fill what room is left.
    There are no SMILES: they are spelt (see `tokenizer`).
    """
    from teacher import catalog, facts

    prompts = [_message(catalog.load(name)) for name in catalog.names()]
    groups = facts.vocabulary()
    for number in range(len(groups)):
        yield from prompts
        yield _answer(number, tuple(groups[(number + step) % len(groups)] for step in range(GROUPS_PER_ANSWER)))
    for file in (*sorted((TEACHER / "prompts").glob("*.yaml")), TEACHER / "groups.yaml"):
        yield file.read_text(encoding="utf-8")


def _message(prompt: Prompt) -> str:
    parts = prompt.fill(task="", smiles="", graph="")
    return "\n".join(part for part in parts if isinstance(part, str))


def _answer(number: int, groups: tuple[str, ...]) -> str:
    """Write an answer that names `groups`; the `number` varies the rest of it."""
    from teacher.facts import Facts

    facts = Facts(groups, number % 7, number % 5, ("low", "medium", "high")[number % 3], "high")
    sentence = answers.SENTENCES[number % len(answers.SENTENCES)]
    heavy_atoms = HEAVY_ATOMS[number // 3 % len(HEAVY_ATOMS)]
    fields = {
        "functional_groups": groups,
        "aromatic_rings": facts.aromatic_rings,
        "aliphatic_rings": facts.aliphatic_rings,
        "polarity": facts.polarity,
        "lipophilicity": facts.lipophilicity,
        "description": answers.describe(facts, heavy_atoms, number % 4 + 1, sentence),
    }
    return json.dumps(fields, separators=(",", ":"))
