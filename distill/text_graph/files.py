"""A graph whose nodes have texts and classes, out of two files."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.data.splits import PART_WORDS
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

SHARES = (0.6, 0.2)  # of the labelled nodes, to learn from and to choose the epoch by; the others judge
UNKNOWN = -1
CSV_SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The names of the columns of the file with the nodes.

    Attributes:
        id, text, label: of each node; a label may be empty.
        split: which says train, valid or test, if there is one.
    """

    id: str = "id"
    text: str = "text"
    label: str = "label"
    split: str | None = None


@dataclass(frozen=True, eq=False)
class TextGraph:
    """Nodes with texts, and edges without a direction.

    Attributes:
        texts: of N nodes.
        classes: the names of the classes.
        labels: int64, (N,): the class of each node; `UNKNOWN` where none is given.
        adjacency: (N, N), 1 where there is an edge, none from a node to itself.
        parts: int64, (N,): 0, 1, 2 of those that the split column has in train, valid and test; None without one.
        sha256: of the two files.
    """

    texts: tuple[str, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    adjacency: csr_matrix
    parts: NDArray[np.int64] | None
    sha256: tuple[str, str]

    def __len__(self) -> int:
        return len(self.texts)

    def split(self, seed: int) -> tuple[NDArray[np.int64], ...]:
        """Return the labelled nodes to learn from, to choose the epoch by, and to judge by.

        Args:
            seed: of the draw; nothing where a column says it.

        Raises:
            UsageError: a part is empty, or there is one class only to learn from.
        """
        labelled = np.flatnonzero(self.labels != UNKNOWN)
        if self.parts is None:
            drawn = np.random.default_rng(seed).permutation(labelled)
            first, second = (np.cumsum(SHARES) * len(drawn)).round().astype(int)
            found = drawn[:first], drawn[first:second], drawn[second:]
        else:
            found = tuple(labelled[self.parts[labelled] == part] for part in range(3))
        for name, part in zip(("train", "valid", "test"), found, strict=True):
            if not len(part):
                raise UsageError(f"No labelled node is in the part '{name}': there are too few, or the split lacks it.")
        if len(set(self.labels[found[0]].tolist())) == 1:
            raise UsageError("All nodes to learn from are of one class, so that there is nothing to tell apart.")
        return tuple(np.sort(part) for part in found)


def read(nodes: Path, edges: Path, columns: Columns) -> TextGraph:
    """Read a graph.

    Args:
        nodes: .csv, .tsv or .parquet, with a row for each node.
        edges: likewise, with a header; its first two columns are ids of nodes.
        columns: of the nodes.

    Raises:
        UsageError: a file cannot be read, or does not say what it should.
    """
    names, rows = _table(nodes)
    place = {name: names.index(name) for name in dict.fromkeys(filter(None, vars(columns).values())) if name in names}
    if missing := [name for name in filter(None, vars(columns).values()) if name not in place]:
        raise UsageError(f"{nodes} has no column '{missing[0]}'; it has {', '.join(names)}.")
    ids, texts, labels = (
        [row[place[name]].strip() for row in rows] for name in (columns.id, columns.text, columns.label)
    )
    known: dict[str, int] = {}
    for number, each in enumerate(ids):
        if not each or each in known:
            raise UsageError(f"{nodes}: row {number + 1} has {'the id of another: ' + each if each else 'no id'}.")
        known[each] = number
    classes = sorted({label for label in labels if label})
    if len(classes) < 2:
        raise UsageError(f"{nodes}: '{columns.label}' has {counted(len(classes), 'class', 'classes')}; two are needed.")
    numbered = {label: number for number, label in enumerate(classes)}
    return TextGraph(
        texts=tuple(texts),
        classes=tuple(classes),
        labels=np.array([numbered.get(label, UNKNOWN) for label in labels], dtype=np.int64),
        adjacency=_adjacency(edges, nodes, known),
        parts=_parts(nodes, [row[place[columns.split]] for row in rows]) if columns.split else None,
        sha256=(_sha256(nodes), _sha256(edges)),
    )


def _adjacency(edges: Path, nodes: Path, known: dict[str, int]) -> csr_matrix:
    from scipy.sparse import coo_matrix

    names, rows = _table(edges)
    if len(names) < 2:
        raise UsageError(f"{edges} has {counted(len(names), 'column')}; the two ids of each edge are needed.")
    if all(name.strip() in known for name in names[:2]):
        raise UsageError(f"{edges} has no header: its first line is an edge; put the names of the columns above it.")
    ends = []
    for number, row in enumerate(rows, start=1):
        pair = [each.strip() for each in row[:2]]
        if unknown := next((each for each in pair if each not in known), None):
            raise UsageError(f"{edges}: row {number} has the id '{unknown}', which is no node of {nodes}.")
        ends.append([known[each] for each in pair])
    pairs = np.array(ends, dtype=np.int64).reshape(-1, 2)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    if not len(pairs):
        raise UsageError(f"{edges} has no edge between two nodes.")
    size = len(known)
    directed = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size)).tocsr()
    either: csr_matrix = directed.maximum(directed.T).tocsr()
    either.data[:] = 1  # an edge that is given twice is one
    return either


def _parts(nodes: Path, cells: Sequence[str]) -> NDArray[np.int64]:
    words = [cell.strip().lower() for cell in cells]
    if unknown := next((word for word in words if word and word not in PART_WORDS), None):
        raise UsageError(f"{nodes}: the split column says '{unknown}'; it should say train, valid or test.")
    return np.array([PART_WORDS.get(word, UNKNOWN) for word in words], dtype=np.int64)


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of a table's columns, and its rows as text."""
    readers: dict[str, Callable[[Path], Iterator[list[str]]]] = {".parquet": _parquet_rows}
    readers |= dict.fromkeys(CSV_SEPARATORS, _text_rows)
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path} should end in .csv, .tsv or .parquet.")
    try:
        names, *rows = list(readers[path.suffix.lower()](path)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise UsageError(f"{path} cannot be read ({reason}).") from None
    if short := next((number for number, row in enumerate(rows, start=1) if len(row) != len(names)), None):
        raise UsageError(f"{path}: row {short} has {counted(len(rows[short - 1]), 'cell')} and not {len(names)}.")
    return names, rows


def _text_rows(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from filter(None, csv.reader(file, delimiter=CSV_SEPARATORS[path.suffix.lower()]))


def _parquet_rows(path: Path) -> Iterator[list[str]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    yield list(table.column_names)
    columns = [column.to_pylist() for column in table.columns]
    yield from ([("" if cell is None else str(cell)) for cell in row] for row in zip(*columns, strict=True))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
