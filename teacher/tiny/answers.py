"""What the `tiny` model learns to answer: the `describe` JSON, true of the molecule by RDKit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from teacher.chemistry.facts import Facts

if TYPE_CHECKING:
    from rdkit.Chem import Mol

SMALL, MEDIUM = 15, 30  # heavy atoms: fewer than the first are small, up to the second midsized
NAMED_GROUPS = 4  # functional groups that a description names
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
AN = "aeioN"  # the first letters of groups that "an" goes before: an ether, an N-oxide, a urea

SENTENCES = (
    "A {size} molecule with {rings}. It carries {groups}.",
    "This {size} structure has {rings} and carries {groups}.",
    "A {size} molecule that carries {groups}; its skeleton has {rings}.",
)


def write(facts: Facts, mol: Mol, random: Random) -> str:
    """Write an answer in the compact JSON that structured outputs enforce.

    Args:
        facts: what is true of the molecule.
        mol: the molecule, for what the description says beyond the facts.
        random: picks one of the wordings of the description.
    """
    return json.dumps(
        {
            "functional_groups": list(facts.functional_groups),
            "aromatic_rings": facts.aromatic_rings,
            "aliphatic_rings": facts.aliphatic_rings,
            "polarity": facts.polarity,
            "lipophilicity": facts.lipophilicity,
            "description": describe(facts, mol.GetNumHeavyAtoms(), ring_systems(mol), random.choice(SENTENCES)),
        },
        separators=(",", ":"),
    )


def describe(facts: Facts, heavy_atoms: int, systems: int, sentence: str) -> str:
    """Fill one of `SENTENCES`."""
    size = "small" if heavy_atoms < SMALL else "midsized" if heavy_atoms <= MEDIUM else "large"
    return sentence.format(size=size, rings=_rings(facts, systems), groups=_groups(facts.functional_groups))


def ring_systems(mol: Mol) -> int:
    """Count the ring systems: rings that share an atom are one (fused, bridged or spiro)."""
    systems: list[set[int]] = []
    for ring in map(set, mol.GetRingInfo().AtomRings()):
        touching = [system for system in systems if system & ring]
        systems = [system for system in systems if not system & ring]
        systems.append(ring.union(*touching))
    return len(systems)


def _rings(facts: Facts, systems: int) -> str:
    kinds = (("aromatic", facts.aromatic_rings), ("aliphatic", facts.aliphatic_rings))
    counts = [_counted(count, f"{kind} ring") for kind, count in kinds if count]
    if not counts:
        return "no rings"
    total = facts.aromatic_rings + facts.aliphatic_rings
    where = f" in {_counted(systems, 'ring system')}" if total > 1 else ""
    return _listed(counts) + where


def _groups(names: Sequence[str]) -> str:
    if not names:
        return "no common functional group"
    if len(names) == 1:
        return f"{'an' if names[0][0] in AN else 'a'} {names[0]} group"
    if len(names) > NAMED_GROUPS:
        return f"{', '.join(names[:NAMED_GROUPS])} and other groups"
    return f"{_listed(names)} groups"


def _counted(count: int, noun: str) -> str:
    number = NUMBERS[count] if count < len(NUMBERS) else str(count)
    return f"{number} {noun}{'' if count == 1 else 's'}"


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
