"""Cells of a molecule's row in its prompt: which a prompt names, and how a stranger's text is made harmless.

A cell is written by whoever made the file. It goes to the model as one short line without control characters, and
without what a chat template would take for the beginning of a turn or a picture.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping

PLACE = re.compile(r"\{column:([^{}]+)\}")
LONGEST = 300  # characters of a cell that are shown
EMPTY = "not given"

# How that begins which tokenizers take for more than text: <|im_start|>, </s>, <image>, <<SYS>>; [INST], [/INST]. A
# comparison ("< 5", "<=") is none, nor is an atom of a SMILES ([NH3+], [2H]). `<` may be written full-width or small.
MARKS = re.compile(r"[<\uff1c\ufe64](?![\s\d=.+-])|\[(?=/?[A-Z_]{3,}\])")
HARMLESS_ANGLE = "\u2039"


def named_columns(text: str) -> tuple[str, ...]:
    """Return the columns that a text has places for, each once."""
    return tuple(dict.fromkeys(PLACE.findall(text)))


def filled(text: str, cells: Mapping[str, str]) -> str:
    """Fill cells, as `shown` returns them, into their places; what looks like a place inside a cell stays text.

    Raises:
        KeyError: a column that the text names is not among the cells.
    """
    return PLACE.sub(lambda place: cells[place[1]], text)


def shown(cell: str) -> str:
    """Return what a prompt shows of a cell: one line of at most `LONGEST` characters, `EMPTY` for an empty one."""
    text = unicodedata.normalize("NFC", cell)
    plain = "".join(" " if character.isspace() else character for character in text if not _is_hidden(character))
    line = " ".join(plain.split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST - 1]}\u2026"
    return MARKS.sub(lambda mark: "(" if mark[0] == "[" else HARMLESS_ANGLE, line) or EMPTY


def pack_cells(cells: Mapping[str, str]) -> str:
    """Write cells, by the names of their columns, as they decide a record's identity; nothing for none."""
    return json.dumps(dict(cells), sort_keys=True, ensure_ascii=False, separators=(",", ":")) if cells else ""


def unpack_cells(columns: str) -> dict[str, str]:
    """Read what `pack_cells` wrote."""
    cells: dict[str, str] = json.loads(columns) if columns else {}
    return cells


def _is_hidden(character: str) -> bool:
    """Tell whether a character is a control, a format, a surrogate or none at all, and no white space."""
    return unicodedata.category(character)[0] == "C" and not character.isspace()
