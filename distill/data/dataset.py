"""From a file with measured properties to distinct molecules with labels.

A file is read whole: labelled sets are small beside libraries. What a wrong row costs depends on what is wrong in it. A
molecule that RDKit refuses is left out, kept in `Dataset.invalid`, and counted. A label that cannot be one (text where
numbers stand, an infinity) stops the reading, since the column may not be what it was taken for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cluster.library.source import NoMoleculeError, data_name
from distill.data.cells import Kind
from distill.data.table import Table, only_file
from distill.data.times import read_times
from teacher.chemistry.molecule import InvalidMoleculeError, parse
from teacher.chemistry.parsing import parse_safely
from teacher.errors import UsageError
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rdkit.Chem import Mol


@dataclass(frozen=True, slots=True)
class Target:
    """A measured property: the column's name, and whether its labels are classes (0 and 1) or numbers."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Invalid:
    """A row without a molecule: its number (1, 2, 3, ...), what stands there (a SMILES or title), and what is wrong."""

    row: int
    raw: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Distinct molecules and their labels, in the order in which the file first names them.

    Attributes:
        name: what tables call it.
        smiles: canonical isomeric SMILES of the N molecules.
        keys: their 128-bit keys.
        labels: float32 of shape (N, T); NaN where nothing was measured. Classes are 0 and 1.
        targets: the T targets.
        groups: what the split column says of each molecule, if one was named.
        times: when each molecule was first measured, the greater the later, if a column with times was named.
        invalid: the rows that RDKit refuses.
        duplicates: rows that were merged into an earlier row of the same molecule.
        conflicts: labels that were left out because rows of one molecule contradict each other about its class.
        sha256: digest of the canonical SMILES and the labels, in their order.
        benchmark: whether it is the set of MoleculeNet of its name, with the targets that others are scored on.
    """

    name: str
    smiles: tuple[str, ...]
    keys: tuple[bytes, ...]
    labels: NDArray[np.float32]
    targets: tuple[Target, ...]
    groups: tuple[str, ...] | None
    invalid: tuple[Invalid, ...]
    duplicates: int
    conflicts: int
    sha256: str
    times: tuple[float, ...] | None = None
    benchmark: bool = False

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def kind(self) -> Kind:
        """What all targets are.

        Raises:
            UsageError: some are classes and some are numbers, so that no one loss and no one metric serves them.
        """
        names: dict[Kind, str] = {target.kind: target.name for target in self.targets}
        if len(names) > 1:
            raise UsageError(
                f"{self.name}: '{names['classification']}' holds classes and '{names['regression']}' holds numbers; "
                "learn them one after the other."
            )
        return self.targets[0].kind

    def mols(self) -> list[Mol]:
        """Parse the N molecules again, which is cheap beside anything that is done with them."""
        return [parse(smiles.encode()).mol for smiles in self.smiles]


def read(
    path: str | Path,
    *,
    smiles_column: str | None = None,
    targets: Sequence[str],
    split_column: str | None = None,
    time_column: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
) -> Dataset:
    """Read labelled molecules from a table (text, also as .gz and .zst, or Parquet) or from an SD file.

    Rows of one molecule become one: the mean of their labels where they are numbers, their class where they agree on
    it, and no label where they do not. A molecule without any label stays, since a teacher's prediction can label it.

    Args:
        path: a local file.
        smiles_column: the column with the SMILES; by default the only one with a usual name.
        targets: the columns, or fields of the SD file, with the labels. Their kind is found from their values: 0 and 1,
            -1 and 1, true and false, or yes and no are classes; anything else is numbers. Empty cells, NA and NaN are
            missing labels.
        split_column: a column that says which part of a published split a molecule belongs to.
        time_column: a column that says when a row was measured (`distill.data.times.read_times`).
        separator: of a table as text, where it would be found wrongly (`cluster.library.source.resolve`).
        encoding: likewise.

    Raises:
        UsageError: the file cannot be read, a column is not there, a label is text or infinite, a target has no label
            or only one value, or the rows of one molecule stand in different parts.
        NoMoleculeError: no row holds a molecule.
    """
    if not targets:
        raise UsageError(f"Name at least one column of {path} that holds labels.")
    table = Table(only_file(path, smiles_column, separator, encoding), targets, split_column, time_column)
    rows = _Rows(table)
    merged = [_labels(table, target, rows) for target in table.targets]
    labels = np.stack([values for _, values, _ in merged], axis=1).astype(np.float32)
    smiles = tuple(rows.smiles.values())
    return Dataset(
        name=data_name(str(path)),
        smiles=smiles,
        keys=tuple(rows.smiles),
        labels=labels,
        targets=tuple(target for target, _, _ in merged),
        groups=_groups(table, rows),
        invalid=tuple(rows.invalid),
        duplicates=int((rows.molecule >= 0).sum()) - len(smiles),
        conflicts=sum(conflicts for _, _, conflicts in merged),
        sha256=_digest(smiles, labels),
        times=_times(table, rows),
    )


class _Rows:
    """Which molecule each row of a table stands for.

    Attributes:
        smiles: the canonical SMILES of the N molecules by their keys, in the order of their first rows.
        molecule: int64, one a row: the place of its molecule in `smiles`, or -1.
        invalid: the rows with -1.
    """

    def __init__(self, table: Table) -> None:
        self.smiles: dict[bytes, str] = {}
        self.invalid: list[Invalid] = []
        places: dict[bytes, int] = {}
        molecule: list[int] = []
        for row, raw in enumerate(table.molecules(), start=1):
            try:
                if row in table.unreadable:
                    raise InvalidMoleculeError(table.unreadable[row])
                found = parse_safely(raw, table.notation)
            except InvalidMoleculeError as error:
                shown = raw.split(b"\n", 1)[0] if table.notation == "molblock" else raw
                self.invalid.append(Invalid(row, shown.decode(errors="replace"), str(error)))
                molecule.append(-1)
                continue
            self.smiles[found.key] = found.smiles
            molecule.append(places.setdefault(found.key, len(places)))
        if not self.smiles:
            first = f" (row {self.invalid[0].row} {self.invalid[0].reason})" if self.invalid else ""
            none = f"{table.path}: none of its {counted(len(molecule), 'row')} holds a molecule"
            if table.smiles_column is None:
                raise NoMoleculeError(f"{none}{first}; check the mol blocks.")
            raise NoMoleculeError(
                f"{none} in the column '{table.smiles_column}'{first}; name the one with the SMILES (the columns are: "
                f"{table.columns})."
            )
        self.molecule = np.array(molecule, dtype=np.int64)


def _labels(table: Table, name: str, rows: _Rows) -> tuple[Target, NDArray[np.float64], int]:
    """Return a target, the label of each molecule, and how many labels were left out for contradictions."""
    kind, of_rows = table.labels(name)
    values = _mean_by_molecule(of_rows, rows)
    torn = (values > 0) & (values < 1) & (kind == "classification")
    values[torn] = np.nan
    distinct = np.unique(values[~np.isnan(values)])
    if len(distinct) < 2:
        has = f"only the value {distinct[0]:g}" if len(distinct) else "no value"
        raise UsageError(
            f"{table.path}: the target '{name}' has {has}, so there is nothing to learn; choose another "
            f"(the columns are: {table.columns})."
        )
    return Target(name.strip(), kind), values, int(torn.sum())


def _mean_by_molecule(of_rows: NDArray[np.float64], rows: _Rows) -> NDArray[np.float64]:
    """Return the mean label of each molecule, NaN where none of its rows has one."""
    known = (rows.molecule >= 0) & ~np.isnan(of_rows)
    counts = np.bincount(rows.molecule[known], minlength=len(rows.smiles))
    sums = np.bincount(rows.molecule[known], weights=of_rows[known], minlength=len(rows.smiles))
    means = np.full(len(rows.smiles), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def _groups(table: Table, rows: _Rows) -> tuple[str, ...] | None:
    """Return the part that each molecule belongs to; all its rows must name the same one, or the test would leak."""
    of_rows = table.groups()
    if of_rows is None:
        return None
    groups: dict[int, str] = {}
    for row, (molecule, group) in enumerate(zip(rows.molecule.tolist(), of_rows, strict=True), start=1):
        if molecule >= 0 and groups.setdefault(molecule, group) != group:
            raise UsageError(
                f"{table.path}: row {row} puts a molecule into '{group}' that an earlier row puts into "
                f"'{groups[molecule]}' ({list(rows.smiles.values())[molecule]}); correct the split column."
            )
    return tuple(groups[place] for place in range(len(rows.smiles)))


def _times(table: Table, rows: _Rows) -> tuple[float, ...] | None:
    """Return when each molecule was first measured: what was known of it then is no news later."""
    cells = table.times()
    if cells is None:
        return None
    molecules = {row: place for row, place in enumerate(rows.molecule.tolist(), start=1) if place >= 0}
    where = f"{table.path}: the column '{table.time_column}'"
    first = [float("inf")] * len(rows.smiles)
    for row, time in read_times({row: cells[row - 1] for row in molecules}, where).items():
        first[molecules[row]] = min(first[molecules[row]], time)
    return tuple(first)


def _digest(smiles: Sequence[str], labels: NDArray[np.float32]) -> str:
    digest = hashlib.sha256("\n".join(smiles).encode())
    digest.update(np.where(np.isnan(labels), np.float32(np.nan), labels).astype("<f4").tobytes())
    return digest.hexdigest()
