"""Libraries as users have them: with duplicates, damage and columns of their own, in every format that is read."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from rdkit import Chem

from cluster.library.sdf import fields, sdf_records, title

Cells = list[str]

BROKEN = "C1CC"
NAMES = ["Compound ID", "smiles", "error", "note", "IC50 (µM)"]
BLOCK_OF_NOTHING = "{title}\n  damaged\n\n  9  9  0  0  0  0            999 V2000\nM  END\n"


def rows(number: int) -> list[Cells]:
    """Return rows of a table, 5 % of them duplicates and 2 % damaged, under `NAMES`."""
    found: list[Cells] = []
    for row in range(number):
        smiles = f"{'C' * (1 + row % 40)}{'N' if row // 40 % 2 else 'O'}{'C' * (row // 80)}"
        if row % 20 == 19:
            smiles = f"O{'C' * (1 + row % 7)}"  # alcohols that were there before, written otherwise
        if row % 50 == 25:
            smiles = BROKEN
        notes = ['with "quotes",\nand lines', "=1+1", " 1.50 ", "", "Äther; µ-Form", "-2+3"]
        found.append([f"00{row}", smiles, f"±{row}", notes[row % len(notes)], f"{row}.50"])
    return found


def libraries(folder: Path, number: int) -> dict[str, tuple[Path, list[str], list[Cells]]]:
    """Write a library in every format, and return each with the names and cells of its own columns."""
    table = rows(number)
    latin, smiles, sdf = folder / "latin.csv", folder / "named.smi", folder / "fields.sdf"
    with latin.open("w", encoding="latin-1", newline="") as file:
        csv.writer(file, delimiter=";", lineterminator="\n").writerows([NAMES, *table])
    named = [[cells[1], f"{cells[0]} Äther no. {row}"] for row, cells in enumerate(table)]
    smiles.write_text("".join(f"{one}\t{name}\n" for one, name in named), encoding="latin-1")
    sdf.write_text("".join(map(_record, table)), encoding="latin-1")
    columns = parquet_columns(table)
    parquet.write_table(columns, folder / "typed.parquet")
    in_records = [[f"mol {cells[0]}", cells[0], cells[3].replace("\n", " "), cells[4]] for cells in table]
    return {
        "csv": (latin, NAMES, table),
        "smi": (smiles, ["smiles", "name"], named),
        "sdf": (sdf, ["title", NAMES[0], "note", NAMES[4]], in_records),
        "parquet": (
            folder / "typed.parquet",
            columns.column_names,
            [[*cells[:4], str(float(cells[4]))] for cells in table],
        ),
    }


def parquet_columns(table: Sequence[Cells]) -> pa.Table:
    """Return the rows with types: a number among texts."""
    columns = dict(zip(NAMES, map(list, zip(*table, strict=True)), strict=True))
    return pa.table({**columns, NAMES[4]: pa.array(map(float, columns[NAMES[4]]), pa.float32())})


def _record(cells: Cells) -> str:
    heading = f"mol {cells[0]}"
    mol = Chem.MolFromSmiles(cells[1]) if cells[1] != BROKEN else None
    if mol is None:
        block = BLOCK_OF_NOTHING.format(title=heading)
    else:
        mol.SetProp("_Name", heading)
        block = Chem.MolToMolBlock(mol)
    note = cells[3].replace("\n", " ")
    return f"{block}>  <{NAMES[0]}>\n{cells[0]}\n\n>  <note>\n{note}\n\n> 7 <{NAMES[4]}>\n{cells[4]}\n\n$$$$\n"


def read_out(out: Path) -> tuple[list[str], list[Cells]]:
    """Return the columns and the cells of an output, as text."""
    if out.suffix in (".csv", ".tsv"):
        with out.open(encoding="utf-8", newline="") as file:
            header, *cells = csv.reader(file, delimiter="," if out.suffix == ".csv" else "\t")
        return header, cells
    if out.suffix == ".sdf":
        return _read_records(out)
    if out.suffix == ".jsonl":
        found = [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n")[:-1]]
    else:
        found = parquet.read_table(out).to_pylist()
    return list(found[0]), [["" if value is None else str(value) for value in row.values()] for row in found]


def _read_records(out: Path) -> tuple[list[str], list[Cells]]:
    with out.open("rb") as file:
        records = [{"title": title(record), **fields(record)} for record in sdf_records(file)]
    names = list(dict.fromkeys(name for record in records for name in record))
    return names, [[record.get(name, "") for name in names] for record in records]


def column(out: Path, name: str) -> list[str]:
    """Return the cells of one column of an output, as text."""
    names, cells = read_out(out)
    place = names.index(name)
    return [row[place] for row in cells]


def own_columns(out: Path, number: int) -> tuple[list[str], list[Cells]]:
    """Return the first columns of an output, which are the user's."""
    names, cells = read_out(out)
    return names[:number], [list(islice(row, number)) for row in cells]
