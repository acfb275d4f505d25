"""Examples in a prompt (few-shot): molecules with the answers that are wanted of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from teacher.chemistry.facts_text import facts_text
from teacher.chemistry.graph_text import graph_text
from teacher.chemistry.molecule import InvalidMoleculeError, parse
from teacher.llm.validation import RejectedError, well_formed

EXAMPLES_KEPT = 1_024  # whose texts a process remembers


class ShotError(ValueError):
    """An example cannot be shown as one; the message says which and why."""


class Shot(BaseModel):
    """An example.

    Attributes:
        smiles: of its molecule.
        answer: the text that is wanted, or the object where the prompt has a schema.
        columns: the cells that a row of this molecule has, for the columns that the prompt names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    smiles: str
    answer: dict[str, Any] | str
    columns: dict[str, str] = Field(default_factory=dict)


def check_shots(shots: Sequence[Shot], schema: Mapping[str, Any] | None, columns: Sequence[str]) -> None:
    """Check that each example is a molecule with an answer that would be accepted, but for its grounding.

    Args:
        shots: the examples of a prompt.
        schema: that answers are held to.
        columns: those that the prompt names; every example needs them.

    Raises:
        ShotError: an example is not.
    """
    for number, shot in enumerate(shots, start=1):
        try:
            parse(shot.smiles.encode())
            well_formed(answer_text(shot), "stop", schema)
        except InvalidMoleculeError as error:
            raise ShotError(f"shots: the molecule of example {number} {error}") from None
        except RejectedError as error:
            raise ShotError(f"shots: the answer of example {number} would be rejected: {error.message}") from None
        if missing := [name for name in columns if name not in shot.columns]:
            raise ShotError(f"shots: example {number} lacks the column {missing[0]}")


def answer_text(shot: Shot) -> str:
    """Return an example's answer as the model would have written it."""
    return shot.answer if isinstance(shot.answer, str) else json.dumps(shot.answer, ensure_ascii=False)


@lru_cache(EXAMPLES_KEPT)
def texts_of(smiles: str) -> tuple[str, str, str]:
    """Return the canonical SMILES, the graph and the facts of an example's molecule."""
    molecule = parse(smiles.encode())
    return molecule.smiles, graph_text(molecule.mol), facts_text(molecule.mol)
