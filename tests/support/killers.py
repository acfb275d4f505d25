"""Molecules that RDKit does not survive, or is busy with for minutes."""

from __future__ import annotations

from collections.abc import Iterable


def complete_graph(atoms: int, symbol: str = "U") -> bytes:
    """Return a V3000 mol block in which every atom is bonded to every other: from 80 on RDKit runs out of stack."""
    bonds = [(first, second) for first in range(1, atoms + 1) for second in range(first + 1, atoms + 1)]
    return v3000([symbol] * atoms, bonds)


def v3000(symbols: list[str], bonds: list[tuple[int, int]]) -> bytes:
    """Return a V3000 mol block of single bonds."""
    lines = [
        "killer",
        "  gallon",
        "",
        "  0  0  0     0  0            999 V3000",
        "M  V30 BEGIN CTAB",
        f"M  V30 COUNTS {len(symbols)} {len(bonds)} 0 0 0",
        "M  V30 BEGIN ATOM",
        *(f"M  V30 {number} {symbol} 0 0 0 0" for number, symbol in enumerate(symbols, 1)),
        "M  V30 END ATOM",
        "M  V30 BEGIN BOND",
        *(f"M  V30 {number} 1 {first} {second}" for number, (first, second) in enumerate(bonds, 1)),
        "M  V30 END BOND",
        "M  V30 END CTAB",
        "M  END",
    ]
    return "\n".join(lines).encode() + b"\n"


def graphene(width: int, height: int) -> bytes:
    """Return the SMILES of a sheet of hexagons, `width` atoms in each of `height` rows: 34 by 36 take 18 s."""

    def place(x: int, y: int) -> int:
        return y * width + (x if y % 2 == 0 else width - 1 - x)

    bonds = [(place(x, y), place(x, y + 1)) for y in range(height - 1) for x in range(width) if (x + y) % 2 == 0]
    return _chain(width * height, [(low, high) for low, high in bonds if high - low > 1]).encode()


def _chain(atoms: int, bonds: Iterable[tuple[int, int]]) -> str:
    """Return the SMILES of a chain of aromatic atoms with further bonds, each a ring closure."""
    free, opened, words = list(range(99, 0, -1)), dict[tuple[int, int], int](), []
    of_atom: dict[int, list[tuple[int, int]]] = {}
    for bond in bonds:
        for end in bond:
            of_atom.setdefault(end, []).append(bond)
    for atom in range(atoms):
        word, closed = "c", []
        for bond in of_atom.get(atom, []):
            if bond not in opened:
                opened[bond] = free.pop()
            else:
                closed.append(opened[bond])
            word += f"%{opened[bond]}" if opened[bond] > 9 else str(opened[bond])
        free += closed
        words.append(word)
    return "".join(words)
