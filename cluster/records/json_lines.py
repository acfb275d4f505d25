"""Files with a JSON object in each line, of which the reader is to have all that is whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from cluster.library.errors import LibraryError
from cluster.library.streams import LINE_LIMIT, UnreadableError, find_encoding, lines

LINES_PER_PART = 1_000
TOO_LONG = f"it is longer than {LINE_LIMIT >> 20} MiB"

Numbered = tuple[int, bytes]


def numbered_lines(path: Path) -> Iterator[list[Numbered]]:
    """Yield the lines of a file that are not blank, with their numbers from 1 on, a few consecutive ones at a time.

    Raises:
        LibraryError: the file cannot be read, or no further; every whole line before that place has been yielded.
    """
    part: list[Numbered] = []
    try:
        every_line = chain.from_iterable(lines(str(path), find_encoding(str(path))))
        numbered = enumerate(filter(bytes.strip, every_line), start=1)
        while True:
            part = []
            part.extend(islice(numbered, LINES_PER_PART))  # keeps what came before an error
            if not part:
                return
            yield part
    except UnreadableError as error:
        if part:
            yield part
        raise LibraryError(f"{path} cannot be read: {error}.") from None


def is_cut(line: bytes) -> bool:
    """Tell whether a line is but the beginning of one that is `TOO_LONG`."""
    return len(line) >= LINE_LIMIT and not line.endswith((b"\n", b"\r"))
