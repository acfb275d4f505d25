"""The rows of a library, each with its annotation, or with the reason why it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.library.kept import KeptColumns
from cluster.library.molecules import ParsedRows, keys_of, parsed_blocks
from cluster.library.source import Source
from cluster.library.whole_rows import DAMAGE, read_all_whole, why
from cluster.records.export import AnnotationColumns
from cluster.store.record import DeadLetter, Record
from cluster.store.store import Store
from cluster.table_file import apart
from teacher.chemistry.molecule import InvalidMoleculeError
from teacher.chemistry.parsing import Parsed
from teacher.llm.spec import Spec

if TYPE_CHECKING:
    import pyarrow as pa

PLACE = ("source", "row")  # before the columns of the annotation
REASON = "error"  # behind them
PENDING = "not annotated yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How many rows were written, and how many of them have an annotation."""

    rows: int
    annotated: int


def write_annotated(
    store: Store,
    spec: Spec,
    sources: Sequence[Source],
    kept: KeptColumns,
    out: Path,
    *,
    limit: int | None = None,
    show: Callable[[int], None] | None = None,
) -> Written:
    """Write every row of a library, in order, with its annotation, and return how many there are.

    Rows are read and parsed anew and their records looked up by key, block by block; nothing is kept of them, in memory
    or in the store. Columns: those that are kept, `source` and `row`, those of `cluster.records.export.export`, and
    `error`: why the row holds no molecule, or why its molecule has no annotation. `smiles` (canonical) is left out
    where each row's own SMILES is kept. A column that is called like a kept one is written with a mark: `text_`.

    Args:
        store: that has the annotations.
        spec: of the annotations.
        sources: the files of the library, with the columns that the spec shows.
        kept: the columns of the library's files.
        out: a .csv, .tsv, .parquet or .jsonl file, or .sdf where whole records are kept.
        limit: take only so many rows.
        show: called with the number of rows that are done.

    Raises:
        LibraryError: a file cannot be read.
        OutputError: the file cannot be written.
        StoreError: Redis failed.
    """
    lookup = _Lookup(store, spec, sources, without_smiles=kept.holds_smiles)

    def blocks() -> Iterator[tuple[pa.Table, pa.Table]]:
        rows = 0
        for block, parsed in parsed_blocks(read_all_whole(sources, kept, limit)):
            yield block, lookup.answers(block, parsed)
            rows += block.num_rows
            if show:
                show(rows)

    rows = kept.write(blocks(), lookup.schema, out)
    return Written(rows=rows, annotated=lookup.annotated)


class _Lookup:
    """Finds what the store has about rows.

    Attributes:
        schema: of our columns.
        annotated: how many of the rows so far have an annotation.
    """

    def __init__(self, store: Store, spec: Spec, sources: Sequence[Source], *, without_smiles: bool) -> None:
        import pyarrow as pa

        self._store, self._spec_id = store, spec.id
        self._files = [source.shown for source in sources]
        self._columns = AnnotationColumns(store, spec)
        self._left_out = {"smiles"} if without_smiles else set[str]()
        self.annotated = 0
        fields = [field for field in self._columns.schema if field.name not in self._left_out]
        names = apart([field.name for field in fields], (*PLACE, REASON))
        own = map(pa.Field.with_name, fields, names)
        self.schema = pa.schema([("source", pa.string()), ("row", pa.int64()), *own, (REASON, pa.string())])

    def answers(self, block: pa.Table, parsed: ParsedRows) -> pa.Table:
        """Return our columns of rows, in their order."""
        import pyarrow as pa

        keys = keys_of(block, parsed)
        found = _look_up(self._store, self._spec_id, {key for key in keys if key})
        annotations: list[dict[str, Any]] = []
        reasons: list[str | None] = []
        for key, molecule, damage in zip(keys, parsed, block[DAMAGE].to_pylist(), strict=True):
            cells, reason = self._cells(key, molecule, found)
            annotations.append(cells)
            reasons.append(why(damage, reason))
        table = pa.Table.from_pylist(annotations, schema=self._columns.schema).drop_columns(list(self._left_out))
        files = pa.array([self._files[number] for number in block["source"].to_pylist()], pa.string())
        return pa.table([files, block["row"], *table.columns, pa.array(reasons, pa.string())], schema=self.schema)

    def _cells(
        self, key: bytes | None, molecule: Parsed | InvalidMoleculeError, found: Mapping[bytes, Record | DeadLetter]
    ) -> tuple[dict[str, Any], str | None]:
        """Return the cells of a row's annotation, or why it has none."""
        if key is None or not isinstance(molecule, Parsed):
            return {}, str(molecule)
        outcome = found.get(key)
        if isinstance(outcome, Record):
            self.annotated += 1
            return self._columns.row(key, outcome), None
        reason = f"{outcome.stage}: {outcome.message}" if outcome else PENDING
        return {"key": key.hex(), "smiles": molecule.smiles}, reason


def _look_up(store: Store, spec_id: str, keys: set[bytes]) -> dict[bytes, Record | DeadLetter]:
    """Return the records of molecules, and the letters of those that are dead."""
    asked = list(keys)
    found: dict[bytes, Record | DeadLetter] = {
        key: record for key, record in zip(asked, store.fetch(spec_id, asked), strict=True) if record
    }
    left = [key for key in asked if key not in found]
    letters = zip(left, store.fetch_letters(spec_id, left), strict=True)
    return {**found, **{key: letter for key, letter in letters if letter}}
