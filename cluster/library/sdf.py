"""Records of an SD file: the mol block, and the data fields below it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from cluster.library.streams import text

RECORD_LIMIT = 2**22  # bytes of a record that are kept, so that a file without ends of records takes no more memory
NAME = re.compile(rb"<(.*)>")

Lines = list[bytes]


def sdf_records(lines: Iterable[bytes]) -> Iterator[Lines]:
    """Yield the lines of each record, without the `$$$$` that ends it; blank lines at the end of a file are none."""
    record: Lines = []
    size = 0
    for line in lines:
        if line.startswith(b"$$$$"):
            yield record
            record, size = [], 0
        elif size < RECORD_LIMIT:
            record.append(line)
            size += len(line)
    if any(map(bytes.strip, record)):
        yield record


def mol_block(record: Sequence[bytes], limit: int) -> bytes:
    """Return the lines up to "M  END", or all where there is none, but no more than `limit` bytes."""
    block: Lines = []
    size = 0
    for line in record:
        block.append(line)
        size += len(line)
        if line.startswith(b"M  END") or size > limit:
            break
    return b"".join(block)[:limit]


def title(record: Sequence[bytes]) -> str:
    """Return the first line of a record, which names the molecule."""
    return text(record[0].rstrip(b"\r\n")) if record else ""


def fields(record: Sequence[bytes]) -> dict[str, str]:
    """Return the values of the data fields by their names, as they stand; those of a repeated name as further lines."""
    found: dict[str, str] = {}
    for name, lines in _parts(record)[1]:
        value: Lines = []
        for line in lines[1:]:
            if not line.strip():
                break
            value.append(line.rstrip(b"\r\n"))
        cell = text(b"\n".join(value))
        found[name] = f"{found[name]}\n{cell}" if name in found else cell
    return found


def with_fields(record: Sequence[bytes], names: Collection[str] | None) -> str:
    """Return the text of a record with the fields of some names, or with all; each line is as it was, in UTF-8."""
    if names is None:
        lines = list(record)
    else:
        block, parts = _parts(record)
        lines = [*block, *(line for name, of_field in parts if name in names for line in of_field)]
    whole = b"".join(lines)
    return whole.decode() if whole.isascii() else "".join(map(text, lines))


def _parts(record: Sequence[bytes]) -> tuple[Lines, list[tuple[str, Lines]]]:
    """Return the lines of the mol block, and each field's with its name: a header, a value, and the blank line."""
    block: Lines = []
    found: list[tuple[str, Lines]] = []
    within = False  # a value, in which a line may begin like a header
    for number, line in enumerate(record):
        if number and not within and line.startswith(b">"):
            found.append((_name(line), [line]))
            within = True
        elif found:
            found[-1][1].append(line)
            within = within and bool(line.strip())
        else:
            block.append(line)
    return block, found


def _name(header: bytes) -> str:
    """Return what a header line calls its field: `>  <NAME> (registry)`, or `> DT12` where it has no name."""
    found = NAME.search(header)
    return text(found[1] if found else header[1:].strip())
