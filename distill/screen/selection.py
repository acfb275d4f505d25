"""Which rows of a screening are written: all, those that meet conditions, or the best ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teacher.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

CONDITION = re.compile(r"(?P<column>.+?)\s*(?P<sign><=|>=|==|!=|<|>|=)\s*(?P<value>[^<>=!]+)")
SIGNS = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "!=": "not_equal"}
TRUTH = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class Condition:
    """That a column's value stands in some relation to another; a row without a value never meets it.

    Attributes:
        column: of the output.
        relation: as Arrow's functions are called.
        value: a number, or a truth value.
    """

    column: str
    relation: str
    value: float | bool

    @classmethod
    def read(cls, text: str) -> Condition:
        """Read a condition as people write it: "logS<-4", "similarity >= 0.3", "in_domain = true".

        Raises:
            UsageError: it is none.
        """
        if found := CONDITION.fullmatch(text.strip()):
            value = found["value"].strip()
            try:
                number = TRUTH[value.lower()] if value.lower() in TRUTH else float(value)
            except ValueError:
                pass
            else:
                return cls(found["column"].strip(), SIGNS.get(found["sign"], "equal"), number)
        raise UsageError(f"{text!r} is no condition: write a column, one of < <= > >= = != and a number, as 'logS<-4'.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows are written.

    Attributes:
        where: conditions, all of which they meet.
        top: how many of them, the best first; None for all, in the library's order.
        prefilter: a share of the rows below 1, or how many: the full student scores only those that an n-gram student
            takes for the best; None for all.
        by: the column that ranks them; by default the first target.
        lowest: whether low values are the best.
    """

    where: tuple[Condition, ...] = ()
    top: int | None = None
    prefilter: float | None = None
    by: str | None = None
    lowest: bool = False

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise UsageError(f"The number of rows with the best values must be at least 1, and is {self.top}.")
        if self.prefilter is not None and not (0 < self.prefilter < 1 or self.prefilter == int(self.prefilter) > 0):
            raise UsageError(
                "A prefilter keeps a share of the rows, between 0 and 1, or a whole number of them, not "
                f"{self.prefilter:g}."
            )
        if self.top is None and self.prefilter is None and (self.by is not None or self.lowest):
            raise UsageError("A column to rank by (--by, --lowest) is of use with --top or --prefilter only.")

    def checked(self, schema: pa.Schema, targets: Sequence[str]) -> Selection:
        """Return the selection with the column that ranks.

        Args:
            schema: of the columns that a selection may go by.
            targets: the columns of the targets.

        Raises:
            UsageError: there is no such column, or it holds neither numbers nor truth values, or a prefilter cannot
                go by it.
        """
        import pyarrow as pa

        for condition in self.where:
            kind = _kind(schema, condition.column)
            if pa.types.is_boolean(kind) != isinstance(condition.value, bool):
                raise UsageError(f"The column '{condition.column}' is compared with a value of another kind.")
        by = self.by if self.by is not None else targets[0]
        _kind(schema, by)
        if self.prefilter is not None and by not in targets:
            raise UsageError(f"A prefilter ranks by a target, and '{by}' is none: choose {', '.join(targets)}.")
        return (
            Selection(where=self.where, top=self.top, prefilter=self.prefilter, by=by, lowest=self.lowest)
            if (self.top or self.prefilter)
            else self
        )

    def passing(self, rows: pa.Table) -> pa.Table:
        """Return the rows that meet all conditions."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for condition in self.where:
            column = rows[condition.column]
            value = pa.scalar(condition.value).cast(column.type)  # as precise as the column, as both are written
            rows = rows.filter(getattr(pc, condition.relation)(column, value))
        return rows

    def best(self, parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield what is written of rows that come in parts: all as they are, or the best of all in one."""
        if self.top is None:
            yield from parts
            return
        best: pa.Table | None = None
        for part in parts:
            best = self._ranked(part if best is None else _together(best, part))
        if best is not None:
            yield best

    def _ranked(self, rows: pa.Table) -> pa.Table:
        """Return the best rows, the best first, of equals the first."""
        import pyarrow as pa
        import pyarrow.compute as pc

        order = [("value", "ascending" if self.lowest else "descending"), ("place", "ascending")]
        ranked = pa.table({"value": rows[self.by], "place": pa.array(range(len(rows)), pa.int64())})
        return rows.take(pc.sort_indices(ranked, order).slice(0, self.top))


def _together(one: pa.Table, other: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables([one, other])


def _kind(schema: pa.Schema, column: str) -> Any:
    import pyarrow as pa

    usable = [
        field.name
        for field in schema
        if pa.types.is_floating(field.type) or pa.types.is_boolean(field.type) or pa.types.is_integer(field.type)
    ]
    if column not in usable:
        raise UsageError(f"There is no column '{column}' to select rows by: there are {', '.join(usable)}.")
    return schema.field(column).type
