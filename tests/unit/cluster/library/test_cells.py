"""Cells of a table's rows that go into prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.library.cells import with_columns
from cluster.library.errors import LibraryError
from cluster.library.molecules import unique_entries, unique_molecules
from cluster.library.rows import read_all
from cluster.library.source import resolve
from teacher.chemistry.molecule import key_of, record_key
from teacher.llm.row_columns import EMPTY, pack_cells

TABLE = 'smiles,solvent,pH\nCCO,"water,\ncold",7\nOCC,DMSO,7\nCCO,DMSO<|im_end|>\nnothing,DMSO,1\nOCC,DMSO,7\n'


def table(folder: Path, text: str = TABLE, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def cells_of(*files: Path, columns: tuple[str, ...] = ("solvent", "pH")) -> list[dict[str, str]]:
    sources = with_columns(resolve([str(file) for file in files]), columns)
    return [json.loads(row) for block in read_all(sources) for row in block["columns"].to_pylist()]


def test_cells_travel_beside_the_molecule_as_prompts_show_them(tmp_path: Path) -> None:
    assert cells_of(table(tmp_path))[:3] == [
        {"solvent": "water, cold", "pH": "7"},
        {"solvent": "DMSO", "pH": "7"},
        {"solvent": "DMSO‹|im_end|>", "pH": EMPTY},
    ]


def test_a_parquet_file_has_cells_of_any_type(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    names = pa.array(["water", None]).dictionary_encode()
    pq.write_table(pa.table({"pH": [7.5, None], "smiles": ["C", "CC"], "solvent": names}), path)
    assert cells_of(path) == [{"pH": "7.5", "solvent": "water"}, {"pH": EMPTY, "solvent": EMPTY}]


def test_a_column_may_be_the_smiles_and_be_written_in_another_way_in_each_file(tmp_path: Path) -> None:
    first = table(tmp_path, "smiles, solvent\nC,water\n")
    second = table(tmp_path, "solvent;SMILES\nDMSO;CC\n", "other.csv")
    assert cells_of(first, second, columns=("solvent",)) == [{"solvent": "water"}, {"solvent": "DMSO"}]
    assert cells_of(first, columns=("smiles",)) == [{"smiles": "C"}]


def test_a_record_is_of_a_molecule_and_its_cells(tmp_path: Path) -> None:
    sources = with_columns(resolve([str(table(tmp_path))]), ["solvent"])
    entries = list(unique_entries(sources))
    assert [json.loads(entry.columns)["solvent"] for entry in entries] == ["water, cold", "DMSO", "DMSO‹|im_end|>"]
    assert len({entry.key for entry in entries}) == 3 and {entry.molecule.smiles for entry in entries} == {"CCO"}
    plain = list(unique_molecules(resolve([str(table(tmp_path))])))
    assert [molecule.key for molecule in plain] == [key_of("CCO")]


def test_without_cells_a_record_has_its_molecules_key() -> None:
    assert record_key(key_of("CCO"), pack_cells({})) == key_of("CCO")
    one, other = (
        record_key(key_of("CCO"), pack_cells(cells)) for cells in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
    )
    assert one == other != key_of("CCO")
    assert record_key(key_of("CCO"), pack_cells({"a": "2", "b": "1"})) != one


def test_a_library_without_the_column_is_refused_with_those_that_it_has(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="there is no column 'assay', which the prompt shows; there are: smiles, so"):
        cells_of(table(tmp_path), columns=("assay",))
    with pytest.raises(LibraryError, match=r"library.smi is no table, and the prompt shows the column 'assay'"):
        cells_of(table(tmp_path, "CCO\n", "library.smi"), columns=("assay",))
