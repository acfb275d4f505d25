"""Examples in a prompt (few-shot): molecules with the answers that are wanted of them.

They are the same for all molecules, or the most similar ones out of a pool: those with the highest Tanimoto similarity
of Morgan fingerprints (radius 2, 2,048 bits).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache, cached_property, lru_cache
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from teacher.chemistry.facts_text import facts_text
from teacher.chemistry.graph_text import graph_text
from teacher.chemistry.molecule import InvalidMoleculeError, mol_of, parse
from teacher.llm.validation import RejectedError, well_formed

if TYPE_CHECKING:
    from rdkit.DataStructs import ExplicitBitVect

EXAMPLES_KEPT = 8_192  # whose texts a process remembers
LARGEST_POOL = 5_000  # examples: they are part of the prompt, and travel with it
RADIUS, BITS = 2, 2_048


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


class NearestShots(BaseModel):
    """Examples that differ from molecule to molecule.

    Attributes:
        nearest: how many are shown.
        pool: what they are drawn from. All of it is part of the prompt, and so of the spec.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    nearest: int = Field(ge=1, le=32)
    pool: tuple[Shot, ...] = Field(min_length=1, max_length=LARGEST_POOL)

    def of(self, smiles: str) -> tuple[Shot, ...]:
        """Return the examples for a molecule, the most similar one last; the molecule itself is none.

        Of equally similar ones those that come first in the pool are taken.

        Args:
            smiles: canonical.
        """
        from rdkit.DataStructs import BulkTanimotoSimilarity

        known, prints = self._known
        likeness = BulkTanimotoSimilarity(_fingerprint(smiles), prints)
        others = [number for number, other in enumerate(known) if other != smiles]
        best = nsmallest(self.nearest, others, key=lambda number: (-likeness[number], number))
        return tuple(self.pool[number] for number in reversed(best))

    @cached_property
    def _known(self) -> tuple[list[str], list[ExplicitBitVect]]:
        """The canonical SMILES and the fingerprints of the pool."""
        smiles = [parse(shot.smiles.encode()).smiles for shot in self.pool]
        return smiles, list(map(_fingerprint, smiles))


def _kind(shots: Any) -> str:
    return "nearest" if isinstance(shots, dict | NearestShots) else "fixed"


Shots = Annotated[
    Annotated[tuple[Shot, ...], Tag("fixed")] | Annotated[NearestShots, Tag("nearest")], Discriminator(_kind)
]


def examples_for(shots: Shots, smiles: str | None) -> tuple[Shot, ...]:
    """Return the examples that come before a molecule's question; of an unnamed one, as many as there would be."""
    if not isinstance(shots, NearestShots):
        return shots
    return shots.pool[: shots.nearest] if smiles is None else shots.of(smiles)


def all_examples(shots: Shots) -> tuple[Shot, ...]:
    """Return the examples that any molecule may be asked about with."""
    return shots.pool if isinstance(shots, NearestShots) else shots


def read_pool(path: Path) -> list[dict[str, Any]]:
    """Read a pool out of what `gallon export` wrote as JSON lines.

    Raises:
        ShotError: the file cannot be read, or a line of it has no `smiles` and `text`.
    """
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")  # texts may hold other ends of lines
    except (OSError, UnicodeDecodeError) as error:
        raise ShotError(f"shots: {path} cannot be read: {error}") from None
    pool = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            pool.append(
                {"smiles": row["smiles"], "answer": row["text"], "columns": json.loads(row.get("columns", "{}"))}
            )
        except (ValueError, KeyError, TypeError):
            raise ShotError(
                f"shots: line {number} of {path} is no JSON object with smiles and text, as gallon export writes them"
            ) from None
    return pool


def check_shots(shots: Shots, schema: Mapping[str, Any] | None, columns: Sequence[str]) -> None:
    """Check that each example is a molecule with an answer that would be accepted, but for its grounding.

    Args:
        shots: the examples of a prompt, or all that they are drawn from.
        schema: that answers are held to.
        columns: those that the prompt names; every example needs them.

    Raises:
        ShotError: an example is not.
    """
    for number, shot in enumerate(all_examples(shots), start=1):
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


def _fingerprint(smiles: str) -> ExplicitBitVect:
    fingerprint: ExplicitBitVect = _generator().GetFingerprint(mol_of(smiles))
    return fingerprint


@cache
def _generator() -> Any:
    from rdkit.Chem import rdFingerprintGenerator

    return rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
