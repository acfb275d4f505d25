"""Tables as delimited text: how one is written, and its records."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from cluster.library.streams import LINE_LIMIT, text
from teacher.chemistry.molecule import InvalidMoleculeError
from teacher.chemistry.parsing import read_mol_safely

SEPARATORS = (",", "\t", ";", "|")
QUOTES = ('"', "'")
EXCEL = re.compile(rb'"?sep=(.)"?\s*', re.IGNORECASE | re.DOTALL)  # above the header, as Excel writes it
RECORDS_SEEN = 50  # when it is found out how a table is written
LINES_JUDGED = 20  # when it is found out whether quotes hold lines together that do not belong together


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written.

    Attributes:
        separator, quote: the characters between cells and around them.
        padded: whether blanks stand between a separator and a quote.
        above: lines before the header: comments, and what Excel notes of the separator.
    """

    separator: str = ","
    quote: str = '"'
    padded: bool = False
    above: int = 0


COMMAS = Dialect()


class BrokenRecord(list[str]):
    """A record whose quotes make no sense: it has no cells, but its line is known.

    Attributes:
        line: the first of its lines, in which bytes that are not UTF-8 are surrogates.
    """

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line


def fitting(head: Sequence[bytes], is_header: Callable[[list[str]], bool], separators: Sequence[str]) -> Dialect | None:
    """Return how a table is written, so that its header is one; None where no way of reading makes it one.

    Args:
        head: the first lines.
        is_header: tells whether these may be the names of the columns.
        separators: that there may be, the likeliest first. A line `sep=;` in the file has the last word.
    """
    return next((dialect for dialect in _dialects(head, separators) if is_header(header(head, dialect))), None)


def likeliest(head: Sequence[bytes], separators: Sequence[str]) -> Dialect:
    """Return the dialect in which most records have as many cells as the header, and more than one."""
    return max(
        _dialects(head, separators), key=lambda dialect: _evenness(head, dialect), default=Dialect(separators[0])
    )


def header(head: Sequence[bytes], dialect: Dialect) -> list[str]:
    """Return the names of the columns; none of an empty table."""
    return next(records(iter(head), dialect), [])


def records(lines: Iterator[bytes], dialect: Dialect, smiles_column: str | None = None) -> Iterator[list[str]]:
    """Yield the records of a table, the header first; blank lines are none.

    A record that breaks the rules of quoting costs its own line only: it comes out as a `BrokenRecord`, and reading
    goes on with the next line. So a quote that is opened and never closed does not swallow what follows: it
    is found out where a quote comes that cannot close it, after `LINE_LIMIT` bytes, or at the end of the file, and the
    lines up to there are read again. So are those up to a stray quote that could close it, when each of them makes a
    record of its own.

    Args:
        lines: of the file, with their ends.
        dialect: how it is written.
        smiles_column: by which a record of its own is known; without one, quotes are believed.

    Yields:
        The names as text; of the others the cells, in which bytes that are not UTF-8 are surrogates.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))  # by default a long comment would be an error
    feed = _RecordFeed(islice(lines, dialect.above, None), dialect.quote)
    rules = {"delimiter": dialect.separator, "quotechar": dialect.quote, "skipinitialspace": dialect.padded}
    names: list[str] | None = None
    while True:
        try:
            for cells in csv.reader(feed.lines(), **rules, strict=True):  # type: ignore[arg-type]
                if feed.record:
                    feed.accept()
                if names:
                    if cells:
                        yield cells
                elif cells:
                    yield (names := _names(cells))
                    feed.judge_by(dialect.separator, names, smiles_column)
            return
        except csv.Error:
            line = feed.reject()
            if names:
                yield BrokenRecord(line)
            else:  # a header with a stray quote still names the columns
                yield (names := _names(line.strip().replace(dialect.quote, "").split(dialect.separator)))
                feed.judge_by(dialect.separator, names, smiles_column)


class _RecordFeed:
    """Hands lines to a CSV reader, and those of a broken record a second time.

    Attributes:
        record: the lines of the record at hand; a line without quotes is a record for sure and does not come in here.
    """

    def __init__(self, lines: Iterator[bytes], quote: str) -> None:
        self.record: list[bytes] = []
        self._fresh = lines
        self._again: list[bytes] = []  # the next one last
        self._quote = quote.encode()
        self._size = 0
        self._is_row: Callable[[bytes], bool] | None = None

    def judge_by(self, separator: str, names: Sequence[str], smiles_column: str | None) -> None:
        """Say by what a line is known that is a record of its own."""
        if smiles_column in names:
            place, cells = names.index(smiles_column), len(names)
            self._is_row = lambda line: _is_row(line, separator, self._quote, cells, place)

    def lines(self) -> Iterator[str]:
        """Yield line after line, with bytes that are not UTF-8 as surrogates.

        Raises:
            csv.Error: the record grows too long, or the file ends within it.
        """
        while line := self._again.pop() if self._again else next(self._fresh, b""):
            if self.record or self._quote in line or len(line) >= LINE_LIMIT:
                self.record.append(line)
                self._size += len(line)
                if self._size >= LINE_LIMIT:
                    raise csv.Error("the record is too long")
            yield line.decode(errors="surrogateescape")
        if self.record:
            raise csv.Error("the file ends within quotes")

    def accept(self) -> None:
        """Take the lines handed out so far for whole records.

        Raises:
            csv.Error: they are one record by their quotes only, and several by all that stands in them.
        """
        if len(self.record) > 1 and self._is_row:
            rest = self.record[1 : 1 + LINES_JUDGED]
            if not self._is_row(self.record[0]):
                # A line on which a cell of several lines ends looks like a row, and proves nothing.
                rest = [line for line in rest if self._quote not in line]
            if sum(map(self._is_row, rest)) * 2 > len(rest):
                raise csv.Error("stray quotes hold records together")
        self.record.clear()
        self._size = 0

    def reject(self) -> str:
        """Give up the first line of the record at hand and return it; hand out the others again."""
        first, *others = self.record
        self._again.extend(reversed(others))
        self.record.clear()
        self._size = 0
        return first.decode(errors="surrogateescape")


def _is_row(line: bytes, separator: str, quote: bytes, cells: int, place: int) -> bool:
    """Tell whether a line has as many cells as the header and a molecule in the right one.

    With a quote in it, it may have more cells: a separator may be meant to stand within quotes, before the molecule or
    behind it.
    """
    found = line.split(separator.encode())
    if len(found) != cells and not (len(found) > cells and quote in line):
        return False
    return any(_is_molecule(found[where].strip().strip(quote)) for where in {place, len(found) - cells + place})


def _is_molecule(text: bytes) -> bool:
    try:
        read_mol_safely(text)
    except InvalidMoleculeError:
        return False
    return True


def _names(cells: Sequence[str]) -> list[str]:
    return [text(cell.encode(errors="surrogateescape")) for cell in cells]


def _dialects(head: Sequence[bytes], separators: Sequence[str]) -> Iterator[Dialect]:
    """Yield the ways in which a table may be written, the likelier ones first."""
    above, comments = 0, list[int]()
    for line in head:
        told = EXCEL.fullmatch(line)
        if told:
            separators = [told[1].decode(errors="replace")]
        elif line.startswith(b"#"):
            comments.append(above)
        elif line.strip():
            break
        above += 1
    for start in (above, *comments[-1:]):  # a header may be written as a comment
        for separator in separators:
            for quote in QUOTES:
                padded = start < len(head) and f"{separator} {quote}".encode() in head[start]
                yield Dialect(separator, quote, padded, start)


def _evenness(head: Sequence[bytes], dialect: Dialect) -> tuple[bool, float, int]:
    cells = [len(record) for record in islice(records(iter(head), dialect), RECORDS_SEEN)] or [0]
    return cells[0] > 1, cells.count(cells[0]) / len(cells), cells[0]
