"""The text that the tokenizer learns its words from: the prompts, answers to them, and the words of the vocabulary.

Of prompts and groups it is what they were when the shipped weights began to be trained, which is kept in `corpus.json`:
another prompt, another group, or another comment there, and the tokenizer would not fit the weights any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from teacher.tiny import answers

KEPT = Path(__file__).parent / "corpus.json"
GROUPS_PER_ANSWER = 3
HEAVY_ATOMS = (10, 20, 40)  # one of each size that a description tells apart


def texts() -> Iterator[str]:
    """Yield the prompts and an answer once for every functional group, then the files of prompts and groups.

    So the words that every conversation holds come first, and those of comments and aliases fill what room is left.
    There are no SMILES: they are spelt (see `tokenizer`).
    """
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    groups: list[str] = kept["groups"]
    for number in range(len(groups)):
        yield from kept["prompts"]
        yield _answer(number, tuple(groups[(number + step) % len(groups)] for step in range(GROUPS_PER_ANSWER)))
    yield from kept["files"]


def _answer(number: int, groups: tuple[str, ...]) -> str:
    """Write an answer that names `groups`; the `number` varies the rest of it."""
    from teacher.chemistry.facts import Facts

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
