"""Tables that are written part by part."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cluster.table_file import RECORD, WRITERS, cell_of, write
from teacher.errors import UsageError
from teacher.files import OutputError

SCHEMA = pa.schema([("text", pa.string())])


def parts(number: int) -> Iterator[pa.Table]:
    for _ in range(number):
        yield pa.table({"text": [os.urandom(500).hex() for _ in range(100)]}, schema=SCHEMA)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_disk_that_fills_up_leaves_the_old_table_and_nothing_else(small_disk: Path, suffix: str) -> None:
    out = small_disk / f"out{suffix}"
    assert write(parts(1), SCHEMA, out) == 100
    before = out.read_bytes()
    with pytest.raises((OutputError, UsageError), match="No space left"):
        write(parts(20), SCHEMA, out)
    assert out.read_bytes() == before
    assert [path.name for path in small_disk.iterdir()] == [out.name]


def test_text_is_written_as_csv_itself_would_write_it(tmp_path: Path) -> None:
    table = pa.table(
        {
            "theirs": ["a", "b,c", 'say "d"', None, "two\nlines", "=1", " e", "\r"],
            "text": ["=1+1", "-3.5", '"', "@x", "f,g", None, "", "\uff1dx"],
            "whole": pa.array([1, None, 3, 4, 5, 6, 7, 8]),
            "exact": [0.1, 1e22, None, 5.0, 1e-5, float("nan"), -0.0, 2.5],
            "yes": [True, False, None] + [True] * 5,
            "list": [["a", "b"], None] + [["=c"]] * 6,
        }
    )
    write(iter([table.slice(0, 3), table.slice(3)]), table.schema, tmp_path / "out.csv", theirs=1)
    expected = io.StringIO()
    writer = csv.writer(expected)
    writer.writerow(table.column_names)
    for row in table.to_pylist():
        theirs, *ours = map(cell_of, row.values())
        writer.writerow([theirs, *(f"'{cell}" if cell in ("=1+1", "@x", "\uff1dx", "=c") else cell for cell in ours)])
    assert (tmp_path / "out.csv").read_bytes().decode() == expected.getvalue()


def test_predictions_are_written_as_short_as_they_are_exact(tmp_path: Path) -> None:
    values = pa.array([0.1, -1.5, 1e-7, 123456.79, None], pa.float32())
    table = pa.table({"logS": values, "row": pa.array(range(5))})
    write(iter([table]), table.schema, tmp_path / "out.csv")
    header, *lines = (tmp_path / "out.csv").read_text().splitlines()
    assert [header, *lines] == ["logS,row", "0.1,0", "-1.5,1", "1e-7,2", "123456.79,3", ",4"]


def test_an_empty_cell_alone_in_its_row_is_no_empty_line(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", None, ""]})
    write(iter([table]), table.schema, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == ["text", "a", '""', '""']


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="should end in one of"):
        write(parts(1), SCHEMA, tmp_path / "out.xlsx")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("http://example.org")', '\'=HYPERLINK("http://example.org")'),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\uff1d1", "'\uff1d1"),
        ("-12.5e-3", "-12.5e-3"),
        ("+4", "+4"),
        ("[Na+].[Cl-]", "[Na+].[Cl-]"),
        ("C=O", "C=O"),
        ("", ""),
    ],
)
def test_a_text_is_no_formula_in_csv_and_exact_elsewhere(tmp_path: Path, text: str, cell: str) -> None:
    table = pa.table({text: [text], "list": [["=1", text]], "number": [-1.5]})
    outs = {suffix: tmp_path / f"out{suffix}" for suffix in WRITERS}
    for out in outs.values():
        assert write(iter([table]), table.schema, out) == 1
    header, row = csv.reader(outs[".csv"].open(encoding="utf-8", newline=""))
    assert (header, row) == ([cell, "list", "number"], [cell, f"'=1; {text}", "-1.5"])
    assert parquet.read_table(outs[".parquet"]).to_pylist() == table.to_pylist()
    assert json.loads(outs[".jsonl"].read_bytes()) == table.to_pylist()[0]


def test_cells_of_the_user_are_written_as_they_are(tmp_path: Path) -> None:
    cells = ["=1+1", "-2+3", "001", "1.50", 'with "quotes",\nand lines\r\n', "\t", "Ä", "", "@x"]
    table = pa.table({"=name": cells, "text": cells})
    for suffix, separator in ((".csv", ","), (".tsv", "\t")):
        out = tmp_path / f"out{suffix}"
        assert write(iter([table]), table.schema, out, theirs=1) == len(cells)
        header, *rows = csv.reader(out.open(encoding="utf-8", newline=""), delimiter=separator)
        assert header == ["=name", "text"]
        assert [row[0] for row in rows] == cells
        assert rows[0][1] == "'=1+1" and rows[3][1] == "1.50"


def test_values_that_text_formats_do_not_know_are_written_as_text(tmp_path: Path) -> None:
    values = {"bytes": [b"CCO"], "day": [date(2026, 11, 26)], "nested": [{"a": [b"x"]}], "mass": [Decimal("1.50")]}
    table = pa.table(values)
    write(iter([table]), table.schema, tmp_path / "out.jsonl")
    write(iter([table]), table.schema, tmp_path / "out.csv")
    told = {"bytes": "CCO", "day": "2026-11-26", "nested": {"a": ["x"]}, "mass": "1.50"}
    assert json.loads((tmp_path / "out.jsonl").read_text()) == told
    (row,) = csv.DictReader((tmp_path / "out.csv").open(newline=""))
    assert row == {**told, "nested": '{"a": ["x"]}'}


@pytest.mark.parametrize(
    ("record", "before"),
    [
        ("t\n\n\nM  END\n", "t\n\n\nM  END\n"),
        ("t\n\n\nM  END", "t\n\n\nM  END\n"),
        ("t\r\n\r\n\r\nM  END\r\n> <a>\r\n1\r\n\r\n", "t\r\n\r\n\r\nM  END\r\n> <a>\r\n1\r\n\r\n"),
        ("t\n\n\nM  END\n> <a>\n1", "t\n\n\nM  END\n> <a>\n1\n\n"),
        ("t\n\n\nM  END\n> <a>\n1\n", "t\n\n\nM  END\n> <a>\n1\n\n"),
    ],
)
def test_what_is_ours_stands_below_the_fields_of_a_record(tmp_path: Path, record: str, before: str) -> None:
    table = pa.table(
        {RECORD: [record], "text": ["two\n\n$$$$\nlines"], "a <b>": [["x", "y"]], "none": [None], "n": [0.5]}
    )
    out = tmp_path / "out.sdf"
    assert write(iter([table]), table.schema, out, theirs=1) == 1
    end = "\r\n" if "\r" in record else "\n"
    lines = [">  <text>", "two $ $ $ $ lines", "", ">  <a_b_>", "x; y", "", ">  <n>", "0.5", "", "$$$$", ""]
    assert out.read_bytes().decode() == before + end.join(lines)
