"""The user's columns of a library: which are kept, and that they are read as they stand."""

from __future__ import annotations

import csv
import io
import tracemalloc
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from cluster.library.errors import LibraryError
from cluster.library.kept import KeptColumns, keep_columns, kept_name
from cluster.library.rows import ROWS_PER_BLOCK, read_all
from cluster.library.source import resolve
from cluster.library.whole_rows import DAMAGE, read_all_whole
from tests.support.identity import libraries


def written(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(files: list[str], *keep: str, limit: int | None = None, **options: Any) -> tuple[KeptColumns, list[list[Any]]]:
    sources = resolve(files)
    kept = keep_columns(sources, keep, limit=limit, **options)
    tables = list(read_all_whole(sources, kept, limit))
    rows = [list(row.values()) for table in tables for row in table.select(_names(kept)).to_pylist()]
    return kept, rows


def _names(kept: KeptColumns) -> list[str]:
    return [kept_name(place) for place in range(len(kept.names))]


@pytest.mark.parametrize("kind", ["csv", "smi", "sdf", "parquet"])
@pytest.mark.parametrize("limit", [None, 90])
def test_the_rows_are_those_that_are_annotated(tmp_path: Path, kind: str, limit: int | None) -> None:
    sources = resolve([str(libraries(tmp_path, 100)[kind][0])] * 1)
    whole = pa.concat_tables(read_all_whole(sources, keep_columns(sources, limit=limit), limit)).combine_chunks()
    plain = pa.concat_tables(read_all(sources, limit)).combine_chunks()
    assert whole.select(plain.column_names).equals(plain)
    assert whole.num_rows == (limit or 100)


@pytest.fixture
def columns_asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str] | None]:
    """The columns that each Parquet file was asked for that is read for its rows."""
    asked: list[list[str] | None] = []
    iter_batches = parquet.ParquetFile.iter_batches

    def spy(file: parquet.ParquetFile, rows: int, columns: list[str] | None = None) -> Any:
        asked.append(columns)
        return iter_batches(file, rows, columns=columns)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", spy)
    return asked


def test_only_what_is_needed_is_read_of_a_parquet_file(tmp_path: Path, columns_asked: list[list[str] | None]) -> None:
    made = {"a": ["x"], "a.b": [1], "smiles": ["CCO"], "assay": ["shown"], "vector": [[0.0] * 99], "note": ["y"]}
    parquet.write_table(pa.table(made), tmp_path / "wide.parquet")
    (source,) = resolve([str(tmp_path / "wide.parquet")])
    source = replace(source, columns=(("assay", "assay"),))
    kept = keep_columns([source], ["note,a.b"])
    (table,) = read_all_whole([source], kept)
    assert columns_asked == [["smiles", "assay", "note", "a.b"]]
    assert table.select(_names(kept)).to_pylist() == [{kept_name(0): "y", kept_name(1): 1}]
    assert table["raw"].to_pylist() == [b"CCO"] and "shown" in table["columns"][0].as_py()


def test_all_is_read_of_a_parquet_file_whose_columns_share_a_name(
    tmp_path: Path, columns_asked: list[list[str] | None]
) -> None:
    cells = [pa.array([cell]) for cell in ("CCO", "one", "two")]
    parquet.write_table(pa.Table.from_arrays(cells, ["smiles", "note", "note"]), tmp_path / "twice.parquet")
    kept, rows = read([str(tmp_path / "twice.parquet")])
    assert columns_asked == [None] and rows == [["CCO", "one", "two"]]
    assert len(set(kept.names)) == 3


def test_a_parquet_file_beyond_the_limit_is_not_opened(tmp_path: Path) -> None:
    for name in ("a", "b"):
        parquet.write_table(pa.table({"smiles": ["CCO"]}), tmp_path / f"{name}.parquet")
    sources = resolve([str(tmp_path / f"{name}.parquet") for name in ("a", "b")])
    kept = keep_columns(sources)
    (tmp_path / "b.parquet").unlink()
    assert [table.num_rows for table in read_all_whole(sources, kept, 1)] == [1]


words = st.text(st.sampled_from("abÄµ12 ,;\"'\n=()-."), max_size=8)


@given(rows=st.lists(st.tuples(words, st.integers(1, 60), words), min_size=1, max_size=8), quoting=st.booleans())
def test_any_cell_of_a_table_is_kept_as_it_stands(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, str]], quoting: bool
) -> None:
    text = io.StringIO()
    table = [["a name", "smiles", "note"], *([one, "C" * size, other] for one, size, other in rows)]
    csv.writer(text, quoting=csv.QUOTE_ALL if quoting else csv.QUOTE_MINIMAL).writerows(table)
    path = written(tmp_path_factory.getbasetemp() / "any.csv", text.getvalue())
    kept, found = read([path])
    assert [list(kept.names), *found] == table


def test_what_of_a_row_has_no_column_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'id,smiles,note\n1,CCO\n2,CCN,x,y,z\n3,CCC,x,,\n"4,CCC,x\n5,CCF,z\n')
    sources = resolve([path])
    (table,) = read_all_whole(sources, keep_columns(sources))
    assert table["raw"].to_pylist() == [b"CCO", b"CCN", b"CCC", b"", b"CCF"]
    assert table[kept_name(0)].to_pylist() == ["1", "2", "3", "", "5"]
    told = table[DAMAGE].to_pylist()
    assert [told[0], told[2], told[4]] == [None] * 3
    assert told[1].endswith("beyond it: y | z") and '"4,CCC,x' in told[3]


def test_columns_are_kept_by_name_in_the_order_of_the_names(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'smiles,"x, y",id,smi le,id\nCCO,1,2,3,4\n')
    assert read([path])[0].names == ("smiles", "x, y", "id", "smi le", "id_")
    assert read([path], "id,smiles") == (read([path], "id", "smiles")[0], [["2", "CCO"]])
    assert read([path], "x, y", "id_")[1] == [["1", "4"]]
    assert read([path], "none")[0].names == ()
    assert read([path], "none", id_column="id")[0].names == ("id",)
    assert read([path], "all", id_column="id")[0].names == ("id", "smiles", "x, y", "smi le", "id_")
    assert read([path], "smiles")[0].holds_smiles and not read([path], "id")[0].holds_smiles
    with pytest.raises(LibraryError, match=r"no column 'name', which --id-column names; there are: smiles"):
        read([path], id_column="name")
    with pytest.raises(LibraryError, match="no column 'nothing', which --keep-columns names"):
        read([path], "id,nothing")


def test_files_of_a_library_have_all_columns_that_any_of_them_has(tmp_path: Path) -> None:
    first = written(tmp_path / "a.csv", "smiles,id\nCCO,01\n")
    parquet.write_table(pa.table({"smiles": ["CCN"], "id": [2], "mass": [45.5]}), tmp_path / "b.parquet")
    lines = written(tmp_path / "c.smi", "CCC\tpropane or so\n\n")
    kept, rows = read([first, str(tmp_path / "b.parquet"), lines])
    assert kept.names == ("smiles", "id", "mass", "name")
    assert kept.types == (pa.string(), pa.string(), pa.float64(), pa.string())
    assert rows == [
        ["CCO", "01", None, None],
        ["CCN", "2", 45.5, None],
        ["CCC", None, None, "propane or so"],
        ["", None, None, ""],
    ]


def test_values_of_parquet_stay_what_they_are(tmp_path: Path) -> None:
    table = pa.table(
        {
            "smiles": pa.array(["CCO", None, "CCN"]).dictionary_encode(),
            "day": pa.array([1, None, 3], pa.timestamp("ns")),
            "list": [["a"], [], None],
            "nested": [{"a": 1}, None, {"a": 2}],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    kept, rows = read([str(tmp_path / "a.parquet")])
    assert rows == [list(row.values()) for row in table.to_pylist()]
    assert kept.types[1:] == tuple(table.schema.types[1:]) and kept.types[0] == pa.string()


def test_records_are_kept_of_sd_files_only(tmp_path: Path) -> None:
    path = written(tmp_path / "a.sdf", "t\n\n\nM  END\n> <a>\n1\n\n> <b>\n2\n\n$$$$\n")
    assert read([path], records=True)[1] == [["t\n\n\nM  END\n> <a>\n1\n\n> <b>\n2\n\n"]]
    assert read([path], "b", records=True)[1] == [["t\n\n\nM  END\n> <b>\n2\n\n"]]
    assert read([path], "none", records=True)[1] == [["t\n\n\nM  END\n"]]
    named = written(tmp_path / "b.sdf", "t\n\n\nM  END\n> <record>\n1\n\n$$$$\n")
    assert read([named], "record")[1] == [["1"]]
    with pytest.raises(LibraryError, match=r"a\.smi has no mol blocks"):
        read([path, written(tmp_path / "a.smi", "C\n")], records=True)


def test_our_fields_never_have_the_name_of_one_that_stays_in_a_record(tmp_path: Path) -> None:
    path = written(tmp_path / "a.sdf", "t\n\n\nM  END\n>  <logS>  (1) \n-2.7\n\n> <b>\n2\n\n$$$$\n")
    ours = pa.schema([("title", pa.string()), ("logS", pa.float64()), ("logS_", pa.float64())])
    for keep, names in (("all", ["title", "logS_", "logS__"]), ("b", ours.names), ("none", ours.names)):
        kept, _ = read([path], keep, records=True)
        assert kept.schema(ours).names[1:] == names
    out = tmp_path / "out.sdf"
    kept, rows = read([path], records=True)
    theirs = pa.table({"kept 0": [rows[0][0]]})
    kept.write([(theirs, pa.table({"title": ["x"], "logS": [1.0], "logS_": [2.0]}, schema=ours))], ours, out)
    headers = [line for line in out.read_text().splitlines() if line.startswith(">")]
    assert headers == [">  <logS>  (1) ", "> <b>", ">  <title>", ">  <logS_>", ">  <logS__>"]


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    lines = chain(["smiles,id,note"], (f"C,{row},{'x' * 50}" for row in range(20 * ROWS_PER_BLOCK)))
    (source,) = sources = resolve([written(tmp_path / "a.csv", "\n".join(lines))])
    kept = keep_columns(sources)
    peaks = []
    for limit in (2 * ROWS_PER_BLOCK, None):
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        most = 0
        for _ in read_all_whole([source], kept, limit):
            most = max(most, pa.total_allocated_bytes() - before + tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        peaks.append(most)
    assert peaks[1] < 1.5 * peaks[0]
