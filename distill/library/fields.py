"""What a network can learn of an annotation's fields: numbers, and which of the frequent values stand there."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SHARE = 0.01  # of the annotations that must say a thing, and that must not, for it to be learned
MOST_COLUMNS = 256


@dataclass(frozen=True, slots=True, order=True)
class FieldColumn:
    """One target: the number in a field, or whether a field is a value, or a list that holds it.

    Attributes:
        field: its name.
        value: that is looked for; None for the number itself.
    """

    field: str
    value: str | None = None


def field_columns(texts: Sequence[str]) -> tuple[FieldColumn, ...]:
    """Return what can be learned of annotations, by a sample of them, in the order of the fields' names.

    Free text has no value that several annotations share, so nothing of it is a column: its embedding tells it. A field
    that is a number in one annotation and text in another is both.
    """
    counts: Counter[FieldColumn] = Counter()
    for text in texts:
        counts.update({column for field, value in _fields(text).items() for column, _ in _said(field, value)})
    least, most = LEAST_SHARE * len(texts), (1 - LEAST_SHARE) * len(texts)
    frequent = [
        column for column, count in counts.most_common() if count >= least and (column.value is None or count <= most)
    ]
    return tuple(sorted(frequent[:MOST_COLUMNS], key=lambda column: (column.field, column.value or "")))


def field_values(columns: Sequence[FieldColumn], texts: Sequence[str]) -> NDArray[np.float32]:
    """Return what annotations say of each column: (texts, columns).

    A number is itself; a value is 1 where it stands, and 0 where the field is there without it. NaN where the field is
    missing, and throughout where the annotation is no JSON object.
    """
    values = np.full((len(texts), len(columns)), np.nan, dtype=np.float32)
    places = {column: place for place, column in enumerate(columns)}
    of_field: dict[str, list[int]] = defaultdict(list)
    for column, place in places.items():
        if column.value is not None:
            of_field[column.field].append(place)
    for row, text in enumerate(texts):
        for field, value in _fields(text).items():
            values[row, of_field.get(field, [])] = 0.0
            for column, number in _said(field, value):
                if column in places:
                    values[row, places[column]] = number
    return values


def _fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _said(field: str, value: object) -> Iterator[tuple[FieldColumn, float]]:
    if isinstance(value, int | float):
        if np.isfinite(number := np.float32(value)):
            yield FieldColumn(field), float(number)
    elif isinstance(value, str):
        yield FieldColumn(field, value), 1.0
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, str):
                yield FieldColumn(field, item), 1.0
