"""The columns of a labelled file that matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cluster.library.columns import matching, told
from cluster.library.errors import LibraryError
from cluster.library.kept import columns_of
from cluster.library.parquet import opened
from cluster.library.rows import RAW_LIMIT, column_names, count, each_line, in_blocks, read_records
from cluster.library.sdf import fields, mol_block, sdf_records, title
from cluster.library.source import Format, NoMoleculeError, Source, resolve
from cluster.library.streams import UnreadableError, text
from distill.data.cells import Kind, kind_of, read_labels
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from teacher.chemistry.bounds import Notation

ROWS_AT_A_TIME = 4_096
MOL_BLOCK = "mol block\n"  # among the fields of an SD file, of which none is called so


class Table:
    """Some columns of a table, or fields of an SD file, as text.

    Attributes:
        path: the file.
        notation: what its molecules are written in.
        smiles_column: the column with the SMILES; none of an SD file.
        targets, split_column, time_column: the columns that were asked for, as the file calls them.
        columns: the names of all columns of the file, for messages.
        unreadable: what is wrong with rows (1, 2, 3, ...) of which it is not sure which cell belongs where.
    """

    def __init__(
        self, source: Source, targets: Sequence[str], split_column: str | None, time_column: str | None = None
    ) -> None:
        """Read the columns of a local file.

        Args:
            source: the file, as `cluster.library.source.resolve` found it.
            targets: the columns with labels.
            split_column: the column that says which part of a split a row belongs to.
            time_column: the column that says when a row was measured.

        Raises:
            UsageError: the file cannot be read, or it lacks a column, or has it twice, or the SMILES are to be labels.
        """
        names = columns_of(source).names if source.format == "sdf" else column_names(source)
        self.path = source.shown
        self.notation: Notation = "molblock" if source.format == "sdf" else "smiles"
        self.smiles_column = source.smiles_column
        self.columns = told(names)
        self.targets = tuple(dict.fromkeys(self._find(names, target) for target in targets))
        self.split_column = self._find(names, split_column) if split_column else None
        self.time_column = self._find(names, time_column) if time_column else None
        self.unreadable: dict[int, str] = {}
        if self.smiles_column in self.targets:
            raise UsageError(
                f"{self.path}: the target '{self.smiles_column}' is the column with the SMILES; name one with labels."
            )
        self._decimal_commas = source.format == "csv" and source.dialect.separator == ";"
        others = [self.split_column, self.time_column]
        self._molecules = self.smiles_column or MOL_BLOCK
        wanted = dict.fromkeys(filter(None, [self._molecules, *self.targets, *others]))
        read: dict[Format, Callable[[Source, list[str]], pa.Table]] = {
            "csv": self._read_text,
            "parquet": _read_parquet,
            "sdf": partial(_read_sdf, names[0]),
        }
        self._cells = read[source.format](source, list(wanted))

    def molecules(self) -> list[bytes]:
        """Return the SMILES or mol block of each row, as it stands in the file."""
        cells: list[bytes] = self._cells[self._molecules].to_pylist()
        return cells

    def groups(self) -> list[str] | None:
        """Return the cells of the split column, if there is one."""
        return self._cells[self.split_column].to_pylist() if self.split_column else None

    def times(self) -> list[str] | None:
        """Return the cells of the time column, if there is one."""
        return self._cells[self.time_column].to_pylist() if self.time_column else None

    def labels(self, target: str) -> tuple[Kind, NDArray[np.float64]]:
        """Return the kind of a target, and the label of each row: 0 and 1, or numbers, and NaN where it is missing.

        Raises:
            UsageError: a cell holds neither a class nor a finite number (of what float32 can hold).
        """
        encoded = self._cells[target].combine_chunks().dictionary_encode()
        places = encoded.indices.to_numpy()
        texts: list[str] = encoded.dictionary.to_pylist()  # each only once, so that a column costs little
        numbers = read_labels(texts, commas_are_decimal=self._decimal_commas)
        wrong = np.array([number is None for number in numbers], dtype=bool)[places]
        if wrong.any():
            row = int(wrong.argmax())
            cell = texts[places[row]]
            point = " with a decimal point" if "," in cell else ""
            raise UsageError(
                f"{self.path}: the target '{target}' holds '{cell}' in row {row + 1}, which is no finite number; write "
                f"numbers{point}, classes as 0 and 1, true and false, or yes and no, and leave missing labels empty."
            )
        values = np.array(numbers, dtype=np.float64)
        kind = kind_of(set(values[~np.isnan(values)]))
        if kind == "classification":
            values[values == -1.0] = 0.0
        return kind, values[places]

    def _find(self, names: Sequence[str], wanted: str) -> str:
        found = matching(names, wanted)
        if len(found) != 1:
            has = "more than one column" if found else "no column"
            raise UsageError(f"{self.path} has {has} '{wanted}'; there are: {self.columns}.")
        return found[0]

    def _read_text(self, source: Source, wanted: Sequence[str]) -> pa.Table:
        """Return columns of a table as text: the first one as bytes, the others as text."""
        import pyarrow as pa

        records = read_records(source)
        names = next(records, [])
        places = [names.index(name) for name in wanted]
        schema = pa.schema([(wanted[0], pa.binary()), *((name, pa.string()) for name in wanted[1:])])
        parts: list[pa.RecordBatch] = []
        row = 0
        while some := list(islice(records, ROWS_AT_A_TIME)):
            whole = [self._whole(number, cells, len(names)) for number, cells in enumerate(some, start=row + 1)]
            row += len(some)
            raw = [[cells[place].encode(errors="surrogateescape") for cells in whole] for place in places]
            columns = [raw[0], *([text(cell) for cell in cells] for cells in raw[1:])]
            arrays = [pa.array(cells, kind) for cells, kind in zip(columns, schema.types, strict=True)]
            parts.append(pa.record_batch(arrays, schema=schema))
        return pa.Table.from_batches(parts, schema)

    def _whole(self, row: int, cells: list[str], width: int) -> list[str]:
        """Return a row with a cell for every column: empty ones where it ends early, or where it cannot be trusted."""
        if len(cells) == width:
            return cells
        if not cells:
            self.unreadable[row] = "cannot be read: its quotes make no sense"
        elif any(cell.strip() for cell in cells[width:]):
            self.unreadable[row] = f"has {counted(len(cells), 'cell')}, and the header {width}"
        else:
            return (cells + [""] * width)[:width]
        return [""] * width


def only_file(
    path: str | Path, smiles_column: str | None, separator: str | None = None, encoding: str | None = None
) -> Source:
    """Find the one table that a path stands for; what else may be said of it is as for `library.source.resolve`.

    Raises:
        UsageError: it stands for several files, or for one without columns; or as `resolve`.
        NoMoleculeError: it has no row.
    """
    found = resolve([str(path)], smiles_column, separator, encoding)
    if len(found) > 1:
        raise LibraryError(f"{path} matches {counted(len(found), 'file')}; labelled molecules are read from one.")
    if found[0].format == "smiles":
        raise LibraryError(
            f"{path} has no columns to take labels from; write SMILES and labels as CSV, TSV or Parquet, or an SD file."
        )
    if not count(found, limit=1):
        raise NoMoleculeError.of(found, 0, "")
    return found[0]


def _read_sdf(title_name: str, source: Source, wanted: Sequence[str]) -> pa.Table:
    """Return mol blocks and fields of an SD file as `Table._read_text` returns columns, empty where there is none."""
    import pyarrow as pa

    schema = pa.schema([(wanted[0], pa.binary()), *((name, pa.string()) for name in wanted[1:])])
    parts: list[pa.RecordBatch] = []
    for records in in_blocks(source, sdf_records(each_line(source)), None):
        found = [{title_name: title(record)} | fields(record) for record in records]
        blocks = [mol_block(record, RAW_LIMIT) for record in records]
        columns = [blocks, *([cells.get(name, "") for cells in found] for name in wanted[1:])]
        arrays = [pa.array(cells, kind) for cells, kind in zip(columns, schema.types, strict=True)]
        parts.append(pa.record_batch(arrays, schema=schema))
    return pa.Table.from_batches(parts, schema)


def _read_parquet(source: Source, wanted: Sequence[str]) -> pa.Table:
    """Return the same as `Table._read_text`, with every value written out as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = [pa.binary(), *[pa.string()] * (len(wanted) - 1)]
    try:
        with opened(source.path) as file:
            table = file.read(columns=list(wanted))
        cells = [pc.fill_null(table[name].cast(pa.string()), "") for name in wanted]
    except (UnreadableError, pa.ArrowException) as error:
        raise LibraryError(f"{source.path} cannot be read ({error}); check the file.") from error
    return pa.table({name: column.cast(kind) for name, column, kind in zip(wanted, cells, kinds, strict=True)})
