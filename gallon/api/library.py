"""Libraries and stores as callers name them."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, fspath

from cluster.library.source import Source, resolve
from gallon.config import LibraryConfig

StrPath = str | PathLike[str]
Library = StrPath | Iterable[StrPath]


def listed(paths: Library) -> list[str]:
    """Return one path, or several, as a list of strings."""
    if isinstance(paths, str | PathLike):
        return [fspath(paths)]
    return [fspath(path) for path in paths]


def sources_of(library: Library, config: LibraryConfig) -> list[Source]:
    """Find the files of a library and look into each.

    Raises:
        LibraryError: as `cluster.library.source.resolve`.
    """
    return resolve(listed(library), config.smiles_column, config.separator, config.encoding)
