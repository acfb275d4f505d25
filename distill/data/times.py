"""When molecules were measured, out of the cells of a column: numbers, or dates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from teacher.errors import UsageError


def read_times(cells: Mapping[int, str], where: str) -> dict[int, float]:
    """Return a number for each row that is the greater, the later it is.

    Cells are all numbers (years, or numbers of a laboratory's journal), or all dates as ISO 8601 writes them
    (2021-03-05, with or without a time of day; without a zone, UTC).

    Args:
        cells: by the numbers of their rows, from 1 on.
        where: the file and its column, for messages.

    Raises:
        UsageError: a cell is empty or neither, or a date stands among numbers.
    """
    read = _seconds if any(_number(cell) is None for cell in list(cells.values())[:1]) else _number
    times: dict[int, float] = {}
    for row, cell in cells.items():
        time = read(cell)
        if time is None:
            raise UsageError(
                f"{where} holds '{cell}' in row {row}; a time split needs a number (a year, say) in every row, or a "
                "date such as 2021-03-05 in every row."
            )
        times[row] = time
    return times


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(cell: str) -> float | None:
    try:
        moment = datetime.fromisoformat(cell.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
