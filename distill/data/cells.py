"""What the cells of a column of labels mean: classes, numbers, or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

Kind = Literal["classification", "regression"]

MISSING = frozenset({"", "na", "n/a", "nan", "none", "null"})
CLASS_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
MOST = float(np.finfo(np.float32).max)
WITH_COMMA = re.compile(r"[+-]?(\d+(,\d*)?|,\d+)(e[+-]?\d+)?", re.IGNORECASE)
LIKE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


def read_labels(cells: Sequence[str], *, commas_are_decimal: bool) -> list[float | None]:
    """Return what each distinct cell of a column means: a label, NaN where it is missing, None where it can be none.

    Numbers may have decimal commas where all of the column agree on it: none has a point. 1,234 alone is refused, since
    it may stand for a thousand and more.

    Args:
        cells: of the column, each once.
        commas_are_decimal: whether the file separates its cells as those do who write decimal commas, so that 1,234 is
            a little more than one.
    """
    words = [cell.strip().lower() for cell in cells]
    numbers = [word for word in words if word not in MISSING and word not in CLASS_WORDS]
    with_comma = [number for number in numbers if "," in number]
    sure = commas_are_decimal or not all(map(LIKE_THOUSANDS.fullmatch, with_comma))
    if with_comma and sure and all(map(WITH_COMMA.fullmatch, numbers)):
        words = [word.replace(",", ".") for word in words]
    return [_label(word) for word in words]


def kind_of(labels: set[float]) -> Kind:
    """Tell from the distinct labels of a column, without NaN, whether they are classes (0 and 1, or -1 and 1)."""
    return "classification" if labels in ({0.0, 1.0}, {-1.0, 1.0}) else "regression"


def _label(word: str) -> float | None:
    if word in MISSING:
        return float("nan")
    if word in CLASS_WORDS:
        return CLASS_WORDS[word]
    try:
        number = float(word)
    except ValueError:
        return None
    return number if abs(number) <= MOST else None
