"""Columns by their names, as files and users write them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from cluster.library.streams import text

SMILES_COLUMNS = frozenset({"smiles", "smi", "canonical_smiles", "isomeric_smiles"})
COLUMNS_TOLD = 20  # in a message
LENGTH_TOLD = 80  # of a name in a message


def matching(columns: Sequence[str], wanted: str) -> list[str]:
    """Return the columns that a name means: those called exactly so, or else those whose names look the same.

    Blanks around a name do not show, nor does whether an accented letter or a µ is one code point or another.
    """
    exact = [column for column in columns if column == wanted]
    return exact or [column for column in columns if _seen(column) == _seen(wanted)]


def smiles_columns(columns: Sequence[str], wanted: str | None) -> list[str]:
    """Return the columns that may hold the SMILES: what the user's name means, or else those with a usual name."""
    if wanted is not None:
        return matching(columns, wanted)
    return [column for column in columns if column.strip().removeprefix("#").lower() in SMILES_COLUMNS]


def told(columns: Sequence[str]) -> str:
    """List columns in a message."""
    names = [f"{name[:LENGTH_TOLD]}..." if len(name) > LENGTH_TOLD else name for name in columns[:COLUMNS_TOLD]]
    return ", ".join(names) + (" and more" if len(columns) > COLUMNS_TOLD else "")


def _seen(name: str) -> str:
    return unicodedata.normalize("NFKC", text(name.encode(errors="surrogateescape"))).strip()
