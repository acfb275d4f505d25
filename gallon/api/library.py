"""Libraries and stores as callers name them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from os import PathLike, fspath

from cluster.library.source import Source, resolve
from gallon.config import DEFAULT_STORE, STORE_VARIABLE, LibraryConfig

StrPath = str | PathLike[str]
Library = StrPath | Iterable[StrPath]


def listed(paths: Library) -> list[str]:
    """Return one path, or several, as a list of strings."""
    if isinstance(paths, str | PathLike):
        return [fspath(paths)]
    return [fspath(path) for path in paths]


def store_named(store: StrPath | None) -> str:
    """Return the store that a call names, or the one in the environment, or the default."""
    return fspath(store) if store is not None else os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


def sources_of(library: Library, config: LibraryConfig) -> list[Source]:
    """Find the files of a library and look into each.

    Raises:
        LibraryError: as `cluster.library.source.resolve`.
    """
    return resolve(listed(library), config.smiles_column, config.separator, config.encoding)
