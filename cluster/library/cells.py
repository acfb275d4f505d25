"""Which columns of a library's tables go into prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cluster.library.columns import matching, told
from cluster.library.errors import LibraryError
from cluster.library.rows import column_names
from cluster.library.source import TABLES, Source


def with_columns(sources: Sequence[Source], wanted: Iterable[str]) -> list[Source]:
    """Return the files of a library with columns that are read beside the SMILES.

    Args:
        sources: as `cluster.library.source.resolve` found them.
        wanted: the names that the prompt has for the columns.

    Raises:
        LibraryError: a file is no table, or has no such column, or several that could be meant.
    """
    names = list(wanted)
    return [_with_columns(source, names) for source in sources] if names else list(sources)


def _with_columns(source: Source, wanted: Sequence[str]) -> Source:
    if source.format not in TABLES:
        raise LibraryError(
            f"{source.shown} is no table, and the prompt shows the column {wanted[0]!r} of each row: name a table, or "
            "choose another prompt"
        )
    there = column_names(source)
    return replace(source, columns=tuple((name, _column(source, there, name)) for name in wanted))


def _column(source: Source, there: Sequence[str], wanted: str) -> str:
    found = matching(there, wanted)
    if len(found) != 1:
        raise LibraryError(
            f"{source.shown}: there is {'more than one' if found else 'no'} column {wanted!r}, which the prompt shows; "
            f"there are: {told(there)}"
        )
    return found[0]
