"""From what a user names to the files of a library, and how each of them is written."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import PurePosixPath
from typing import Any, Literal

from cluster.library.columns import smiles_columns, told
from cluster.library.delimited import COMMAS, SEPARATORS, Dialect, fitting, header, likeliest
from cluster.library.errors import ColumnError, LibraryError
from cluster.library.parquet import text_columns
from cluster.library.streams import (
    COMPRESSIONS,
    UnreadableError,
    failures,
    find_encoding,
    first_lines,
    reason,
    suffixes,
    without_login,
)
from teacher.wording import counted

Format = Literal["smiles", "csv", "sdf", "parquet"]

FORMATS: dict[str, Format] = {
    ".smi": "smiles",
    ".smiles": "smiles",
    ".txt": "smiles",  # or a table, if its first line is the header of one
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".sdf": "sdf",
    ".sd": "sdf",
    ".parquet": "parquet",
}
TABLES = frozenset({"csv", "parquet"})
SEPARATOR_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": " "}


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a library.

    Attributes:
        path: absolute local path, or any URL that fsspec opens.
        format: what it holds; "csv" is any table as text.
        smiles_column: the column with the SMILES, of tables only.
        encoding: what its text has to be rewritten from; None for UTF-8 and what else contains ASCII.
        dialect: how a table is written as text.
        columns: further columns that are read: the name that a prompt has for each, and its name in this file.
    """

    path: str
    format: Format
    smiles_column: str | None = None
    encoding: str | None = None
    dialect: Dialect = COMMAS
    columns: tuple[tuple[str, str], ...] = ()

    @property
    def shown(self) -> str:
        """The path as it may be shown and kept: without the password that a URL may hold."""
        return without_login(self.path)


def resolve(
    patterns: Sequence[str],
    smiles_column: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
) -> list[Source]:
    """Find the files of a library and look into each, so that what can be known to fail fails at once.

    Args:
        patterns: paths, globs and fsspec URLs. A glob stands for its files in sorted order; a file that is named
            twice is taken once, where it comes first.
        smiles_column: the column with the SMILES in tables; by default the only one with a usual name
            (`cluster.library.columns.SMILES_COLUMNS`, in any case).
        separator: between the cells of tables as text, a character or a name out of `SEPARATOR_NAMES`; by default the
            one under which the header has such a column.
        encoding: of text files; by default UTF-16 and UTF-32 are recognised, and text that is not UTF-8 is taken for
            Western.

    Raises:
        LibraryError: a pattern matches nothing, a name is a directory or has an unknown suffix, a file cannot be
            opened or does not begin as its suffix says, it has no such column or several that could be meant, or
            something is named that none of the files has.
    """
    formats = {path: _format(path) for path in paths_of(patterns)}
    named = _Named(smiles_column, _separator(separator), _encoding(encoding))
    sources = [_look_into(path, kind, named) for path, kind in formats.items()]
    _check_use(sources, named)
    return sources


class NoMoleculeError(LibraryError):
    """No row of a library holds a molecule, so nothing can come of it. Exit status 1."""

    exit_code = 1

    @classmethod
    def of(cls, sources: Sequence[Source], rows: int, then: str) -> NoMoleculeError:
        """Say it of some files, with what to do about rows that hold none."""
        more = f" and {counted(len(sources) - 1, 'more file')}" if len(sources) > 1 else ""
        files = f"{sources[0].shown}{more}"
        if rows == 0:
            return cls(f"There is no row in {files}: name another file.")
        return cls(f"None of the {counted(rows, 'row')} of {files} holds a molecule: {then}.")


def data_name(path: str) -> str:
    """Return the name of a file without what only says how it is written: "2024.03.15_screen" of its .csv.gz."""
    name = PurePosixPath(path).name
    for known in (COMPRESSIONS, FORMATS):
        bare, dot, suffix = name.rpartition(".")
        if bare and f"{dot}{suffix}".lower() in known:
            name = bare
    return name


# Finding files


def paths_of(patterns: Sequence[str]) -> list[str]:
    """Return the files that paths, globs and URLs stand for, each once.

    Raises:
        LibraryError: a pattern matches nothing, or a name is a directory.
    """
    return list(dict.fromkeys(path for pattern in patterns for path in _expand(pattern)))


def _expand(pattern: str) -> list[str]:
    """Return the paths of the files that a path, glob or URL stands for, good from any working directory."""
    import fsspec.core
    from fsspec.implementations.local import LocalFileSystem

    try:
        fs, path = fsspec.core.url_to_fs(pattern)
        found = _find(fs, path)
    except failures(pattern, ImportError, ValueError) as error:  # those two: no such protocol, or no package for it
        raise LibraryError(f"{pattern} cannot be opened: {reason(error)}; check the path or URL") from error
    if not found:
        raise LibraryError(f"No file matches {pattern}; check the path (relative to where the command is run)")
    for name, info in found.items():
        if info["type"] == "directory":
            raise LibraryError(f"{name} is a directory; name its files, for example {name}/*.smi")
    if isinstance(fs, LocalFileSystem):
        return sorted(found)
    return [pattern] if path in found else sorted(map(fs.unstrip_protocol, found))


def _find(fs: Any, path: str) -> dict[str, Any]:
    """Return what `fs` knows of the file at `path`, or else of those that it matches as a glob, by their names."""
    try:
        return {path: fs.info(path)}  # first of all, for a file may be called "a[1].smi"
    except FileNotFoundError:
        found: dict[str, Any] = fs.glob(path, detail=True) if has_magic(path) else {}
        return found


def _format(path: str) -> Format:
    kind, compression = suffixes(path)
    if kind not in FORMATS or (FORMATS[kind] == "parquet" and compression):
        known = " ".join(FORMATS)
        raise LibraryError(
            f"{path} has no suffix that says what it is; known are {known}, "
            f"all but .parquet also followed by {' or '.join(COMPRESSIONS)}"
        )
    return FORMATS[kind]


# Looking into files


@dataclass(frozen=True, slots=True)
class _Named:
    """What the user says of the files rather than leaving it to be found; None is not said."""

    smiles_column: str | None
    separator: str | None
    encoding: str | None


def _look_into(path: str, kind: Format, named: _Named) -> Source:
    """Read the beginning of a file, and return how the rest is to be read."""
    try:
        if kind == "parquet":
            return Source(path, kind, _choose_column(path, text_columns(path), named.smiles_column))
        encoding = find_encoding(path, named.encoding)
        if kind == "csv" or suffixes(path)[0] == ".txt":
            table = _as_table(path, encoding, named, doubtful=kind != "csv")
            if table:
                return table
    except UnreadableError as error:
        raise LibraryError(f"{path} cannot be read: {error}; check the file, or leave it out") from error
    return Source(path, kind, encoding=encoding)


def _as_table(path: str, encoding: str | None, named: _Named, *, doubtful: bool) -> Source | None:
    """Find out how a table is written as text; return None where it is doubtful and turns out to be none."""
    head = first_lines(path, encoding)
    usual = "\t" if suffixes(path)[0] in (".tsv", ".tab") else ","
    separators = [named.separator] if named.separator else sorted(SEPARATORS, key=lambda one: one != usual)

    def is_header(names: list[str]) -> bool:
        return len(smiles_columns(names, named.smiles_column)) == 1

    dialect = fitting(head, is_header, separators)
    if doubtful and not dialect and not (named.smiles_column or named.separator):
        return None
    dialect = dialect or likeliest(head, separators)
    return Source(path, "csv", _choose_column(path, header(head, dialect), named.smiles_column), encoding, dialect)


def _choose_column(path: str, columns: Sequence[str], wanted: str | None) -> str:
    found = smiles_columns(columns, wanted)
    if len(found) == 1:
        return found[0]
    if len(found) > 1 and len(set(found)) == 1:
        raise LibraryError(f"{without_login(path)}: two columns are called {found[0]!r}; rename one in the file")
    if not columns:
        raise LibraryError(f"{without_login(path)} has no header, and no column: it is empty; name another file")
    if wanted is None:
        lacks = "it is not clear which column holds the SMILES"
    else:
        lacks = f"there is {'more than one' if found else 'no'} text column {wanted!r}"
    help_too = "" if len(columns) > 1 else ", or what separates the columns with --separator"
    there = told(columns)
    message = f"{path}: {lacks}; name one with --smiles-column{help_too} (there are: {there})"
    raise ColumnError(path, there, message)


def _separator(wanted: str | None) -> str | None:
    """Return the character that the user names as a separator."""
    found = SEPARATOR_NAMES.get(wanted.lower(), wanted) if wanted is not None else None
    if found is not None and (len(found) != 1 or found in "\r\n\"'"):
        names = ", ".join(name for name in SEPARATOR_NAMES if name.isalpha())
        raise LibraryError(f"--separator {found!r} is not one character that can separate cells; known names: {names}")
    return found


def _encoding(wanted: str | None) -> str | None:
    """Check that Python knows the encoding that the user names."""
    if wanted is None:
        return None
    try:
        codec = codecs.lookup(wanted)
    except (LookupError, ValueError):
        codec = None
    if codec is None or not codec._is_text_encoding or codec.incrementaldecoder is None:
        raise LibraryError(f"There is no encoding {wanted!r}; usual ones are utf-8, utf-16, cp1252 and latin-1")
    return codec.name


def _check_use(sources: Sequence[Source], named: _Named) -> None:
    """Refuse what is said of files of another kind than any that there is: it was meant to change something."""
    kinds = {source.format for source in sources}
    for option, value, useful in (
        ("--smiles-column", named.smiles_column, TABLES),
        ("--separator", named.separator, {"csv"}),
        ("--encoding", named.encoding, set(FORMATS.values()) - {"parquet"}),
    ):
        if value is not None and not kinds & useful:
            what = {"--smiles-column": "a table", "--separator": "a table as text", "--encoding": "text"}[option]
            raise LibraryError(f"{option} says nothing about {sources[0].path}, which is not {what}: leave it out")
