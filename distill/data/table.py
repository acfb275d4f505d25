"""The columns of a labelled file that matter, and what their cells mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cluster.library import Source, resolve
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["classification", "regression"]

MISSING = frozenset({"", "na", "n/a", "nan", "none", "null"})
CLASS_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
COLUMNS_TOLD = 20  # in a message


class Table:
    """Some columns of a CSV, TSV or Parquet file, as text.

    Attributes:
        path: the file.
        smiles_column: the column with the SMILES.
        columns: the names of all columns of the file, for messages.
    """

    def __init__(
        self, path: str | Path, smiles_column: str | None, targets: Sequence[str], split_column: str | None
    ) -> None:
        """Read the columns of a local file.

        Raises:
            UsageError: the file cannot be read, has no columns, lacks one of those named, or has it twice.
        """
        source = _only_file(path, smiles_column)
        self.path = source.path
        self.smiles_column = str(source.smiles_column)
        self._split_column = split_column
        texts = list(dict.fromkeys([*targets, *([split_column] if split_column else [])]))
        read = _read_parquet if source.format == "parquet" else _read_csv
        self._cells, there = read(self.path, self.smiles_column, texts)
        self.columns = _told(there)

    def molecules(self) -> list[bytes]:
        """Return the SMILES of each row, as it stands in the file."""
        cells: list[bytes] = self._cells[self.smiles_column].to_pylist()
        return cells

    def groups(self) -> list[str] | None:
        """Return the cells of the split column, if there is one."""
        return self._cells[self._split_column].to_pylist() if self._split_column else None

    def labels(self, target: str) -> tuple[Kind, NDArray[np.float64]]:
        """Return the kind of a target, and the label of each row: 0 and 1, or numbers, and NaN where it is missing.

        Raises:
            UsageError: a cell holds neither a class nor a finite number (of what float32 can hold).
        """
        encoded = self._cells[target].combine_chunks().dictionary_encode()
        places = encoded.indices.to_numpy()
        texts: list[str] = encoded.dictionary.to_pylist()  # each only once, so that a column costs little
        numbers = [_label(text) for text in texts]
        wrong = np.array([number is None for number in numbers], dtype=bool)[places]
        if wrong.any():
            row = int(wrong.argmax())
            raise UsageError(
                f"{self.path}: the target '{target}' holds '{texts[places[row]]}' in row {row + 1}, which is no finite "
                "number; write classes as 0 and 1, true and false, or yes and no, and leave missing labels empty."
            )
        values = np.array(numbers, dtype=np.float64)
        known = set(values[~np.isnan(values)])
        if known == {-1.0, 1.0}:
            values[values == -1.0] = 0.0
        return "classification" if known in ({0.0, 1.0}, {-1.0, 1.0}) else "regression", values[places]


def _label(text: str) -> float | None:
    """Return what a cell means: a label, NaN where it is missing, or None where it can be no label."""
    word = text.strip().lower()
    if word in MISSING:
        return float("nan")
    if word in CLASS_WORDS:
        return CLASS_WORDS[word]
    try:
        number = float(word)
    except ValueError:
        return None
    return number if abs(number) <= float(np.finfo(np.float32).max) else None


def _only_file(path: str | Path, smiles_column: str | None) -> Source:
    found = resolve([str(path)], smiles_column)
    if len(found) > 1:
        raise UsageError(f"{path} matches {counted(len(found), 'file')}; labelled molecules are read from one.")
    if found[0].smiles_column is None:
        raise UsageError(f"{path} has no columns to take labels from; write SMILES and labels as CSV, TSV or Parquet.")
    return found[0]


def _read_csv(path: str, smiles_column: str, texts: Sequence[str]) -> tuple[Any, list[str]]:
    """Return the wanted columns (the SMILES as bytes, the others as text) and the names of all."""
    import pyarrow as pa
    from pyarrow import csv

    # SMILES stay bytes: text that is not UTF-8 costs one molecule there, and the whole file elsewhere.
    types = dict.fromkeys(texts, pa.string()) | {smiles_column: pa.binary()}
    parsing = csv.ParseOptions(
        delimiter="\t" if ".tsv" in Path(path.lower()).suffixes else ",", newlines_in_values=True
    )
    converting = csv.ConvertOptions(include_columns=list(types), column_types=types)
    try:
        with pa.input_stream(path) as stream:
            there = csv.open_csv(stream, parse_options=parsing).schema.names
        _check_columns(path, types, there)
        with pa.input_stream(path) as stream:
            return csv.read_csv(stream, parse_options=parsing, convert_options=converting), there
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read ({error}); check the file.") from error


def _read_parquet(path: str, smiles_column: str, texts: Sequence[str]) -> tuple[Any, list[str]]:
    """Return the same as `_read_csv`, with every value written out as text."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    types = dict.fromkeys(texts, pa.string()) | {smiles_column: pa.binary()}
    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            _check_columns(path, types, there)
            table = file.read(columns=list(types))
        cells = [pc.fill_null(table[name].cast(pa.string()), "").cast(kind) for name, kind in types.items()]
        return pa.table(dict(zip(types, cells, strict=True))), there
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read ({error}); check the file.") from error


def _check_columns(path: str, wanted: dict[str, Any], there: list[str]) -> None:
    for name in wanted:
        if there.count(name) != 1:
            has = "more than one column" if name in there else "no column"
            raise UsageError(f"{path} has {has} '{name}'; there are: {_told(there)}.")


def _told(columns: Sequence[str]) -> str:
    return ", ".join(columns[:COLUMNS_TOLD]) + (" and more" if len(columns) > COLUMNS_TOLD else "")
