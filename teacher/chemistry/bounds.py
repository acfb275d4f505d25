"""What RDKit can bear: of a dense graph it does not find the rings in any time, or it dies over them.

A complete graph of 60 atoms takes it a minute, one of 80 all of its stack, and a sheet of graphene of 1,200 atoms 18 s.
Such texts are refused on their bonds alone, before RDKit looks for rings, which in a mol block it does while it reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

Notation = Literal["smiles", "molblock"]  # how a library writes its molecules

# What chemists draw is far from these: no more than 81 rings and 12 neighbours among the 966,463 molecules of PubChem,
# ChEMBL, QM9 and others that were looked at; C60 has 31 rings, a sheet of graphene of 300 atoms 130.
MAX_RINGS = 150
MAX_NEIGHBOURS = 30
# A shorter text has no room for so much, and is not looked at: that costs a sixth of what RDKit takes.
LONG: dict[Notation, int] = {"smiles": 200, "molblock": 5_000}

V3000_BOND = re.compile(r"M  V30 +\d+ +\d+ +(\d+) +(\d+)")

Bond = tuple[int, int]


def is_long(raw: bytes, notation: Notation) -> bool:
    """Tell whether a text has room for more than RDKit can bear."""
    return len(raw) > LONG[notation]


def why_too_dense(text: str, notation: Notation) -> str | None:
    """Say why RDKit should not be given a text, or None."""
    rings, neighbours = _density(_bonds_of_block(text) if notation == "molblock" else _bonds_of_smiles(text))
    if rings > MAX_RINGS:
        return f"has {rings:,} rings; up to {MAX_RINGS} can be read"
    if neighbours > MAX_NEIGHBOURS:
        return f"has an atom with {neighbours:,} neighbours; up to {MAX_NEIGHBOURS} can be read"
    return None


def _density(bonds: Iterable[Bond]) -> tuple[int, int]:
    """Return how many rings bonds close, and how many of them the atom with the most has."""
    joined: dict[int, int] = {}
    neighbours: Counter[int] = Counter()
    rings = 0

    def part(atom: int) -> int:
        while (further := joined.setdefault(atom, atom)) != atom:
            joined[atom] = atom = joined[further]
        return atom

    for first, second in bonds:
        neighbours.update((first, second))
        one, other = part(first), part(second)
        rings += one == other
        joined[one] = other
    return rings, max(neighbours.values(), default=0)


def _bonds_of_smiles(text: str) -> Iterator[Bond]:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text, sanitize=False)
    return ((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()) if mol else iter(())


def _bonds_of_block(text: str) -> Iterator[Bond]:
    """Yield the bonds of a V2000 or V3000 mol block, as far as they are numbers."""
    lines = text.splitlines()
    if "V3000" in "".join(lines[3:4]):
        for line in lines:
            if found := V3000_BOND.match(line):
                yield int(found[1]), int(found[2])
        return
    try:
        atoms, bonds = int(lines[3][:3]), int(lines[3][3:6])
        for line in lines[4 + atoms : 4 + atoms + bonds]:
            yield int(line[:3]), int(line[3:6])
    except (IndexError, ValueError):
        return  # RDKit says what is wrong with it
