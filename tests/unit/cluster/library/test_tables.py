"""Tables as text: whoever wrote them, libraries and labelled sets read the same cells in the same rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.library.errors import LibraryError
from cluster.library.rows import read_all, read_records
from cluster.library.source import data_name, resolve
from distill.data.dataset import Dataset, read
from distill.data.moleculenet import load
from teacher.errors import UsageError

SEPARATORS = [",", ";", "\t", "|"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(content: str | bytes, name: str = "set.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return _write


def molecules(path: Path, **named: str) -> list[str]:
    return [raw.decode() for table in read_all(resolve([str(path)], **named)) for raw in table["raw"].to_pylist()]


def labels(dataset: Dataset) -> dict[str, float]:
    return dict(zip(dataset.smiles, dataset.labels[:, 0].tolist(), strict=True))


# Separators, quotes, encodings

words = st.text(st.sampled_from("abcÄéµ12 ,;|\t\"'\n\r#=()-"), max_size=12)
rows = st.lists(st.tuples(words, st.integers(1, 60).map(lambda size: "C" * size), words), min_size=1, max_size=8)


@given(
    rows=rows,
    separator=st.sampled_from(SEPARATORS),
    encoding=st.sampled_from(ENCODINGS),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    suffix=st.sampled_from([".csv", ".tsv", ".txt", ".tab"]),
    above=st.sampled_from(["", "# made by hand\n", "\n", "sep={}\n", '"sep={}"\n']),
    last_end=st.booleans(),
)
def test_any_table_is_read_back_however_it_is_written(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    separator: str,
    encoding: str,
    quoting: int,
    end: str,
    suffix: str,
    above: str,
    last_end: bool,
) -> None:
    if quoting == csv.QUOTE_MINIMAL:  # Python's writer leaves line ends of other systems unquoted
        rows = [tuple(cell.replace("\r", "").replace("\n", "") for cell in row) for row in rows]  # type: ignore[misc]
    written = io.StringIO()
    writer = csv.writer(written, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerows([["name, or so", "Smiles", "note"], *rows])
    content = above.format(separator) + written.getvalue()
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes((content if last_end else content.removesuffix(end)).encode(encoding))
    (source,) = resolve([str(path)])
    names, *records = read_records(source)
    assert names == ["name, or so", "Smiles", "note"]
    decoded = [[cell.encode(errors="surrogateescape") for cell in record] for record in records]
    stored = "cp1252" if encoding == "cp1252" else "utf-8"
    assert decoded == [[cell.encode(stored) for cell in row] for row in rows]
    assert molecules(path) == [smiles for _, smiles, _ in rows]


@given(
    rows=st.lists(st.tuples(st.integers(1, 90), st.floats(-99, 99, width=32)), min_size=2, max_size=9),
    separator=st.sampled_from(SEPARATORS),
    encoding=st.sampled_from(ENCODINGS),
)
def test_any_labels_stay_with_their_molecules(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float]], separator: str, encoding: str
) -> None:
    expected = {"C" * size: value for size, value in rows}
    if len(set(expected.values())) < 2:
        return
    path = tmp_path_factory.getbasetemp() / "labels.csv"
    lines = ["smiles;IC50 (µM)", *(f"{smiles};{value!r}" for smiles, value in expected.items())]
    path.write_bytes("\n".join(lines).replace(";", separator).encode(encoding))
    assert labels(read(path, targets=["IC50 (µM)"])) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ('"Molecule Name";"Smiles";"Standard Value"', '"AMIDE; C";"CCO";"5"'),
        ('"Molecule\nName";"Smiles";"Standard Value"', '"AMIDE\nC";"CCO";"5"'),
        ("'name';'smiles';'y'", "'AMIDE; C';'CCO';'5'"),
        ('"name", "smiles", "y"', '"AMIDE, C", "CCO", "5"'),
        ('name,"smiles,y', "AMIDE,CCO,5"),
        ("#name\tsmiles\ty", "AMIDE\tCCO\t5"),
        ("# of whom?\n#\nname|smiles|y", "AMIDE|CCO|5"),
        (",smiles,y", "0,CCO,5"),
        ("smiles,y,", "CCO,5,"),
        (" smiles , y", " CCO , 5"),
    ],
)
def test_odd_headers_are_headers(write: Write, header: str, row: str) -> None:
    assert [smiles.strip() for smiles in molecules(write(f"{header}\n{row}\n"))] == ["CCO"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_smiles_files_are_recognised_in_their_encoding(write: Write, encoding: str) -> None:
    assert molecules(write("CCO ethanol\nCCN ethylamine\n", "a.smi", encoding)) == ["CCO", "CCN"]


def test_a_text_file_is_a_table_if_its_first_line_is_a_header(write: Write) -> None:
    assert molecules(write("id\tcanonical_smiles\n1\tCCO\n", "a.txt")) == ["CCO"]
    assert molecules(write("id,smi\n1,CCO\n", "a.txt")) == ["CCO"]
    assert molecules(write("mol,id\nCCO,1\n", "a.txt"), smiles_column="mol") == ["CCO"]
    assert molecules(write("CCO,1\nCCN,2\n", "a.txt")) == ["CCO,1", "CCN,2"]
    with pytest.raises(LibraryError, match=r"no text column 'mol'.*\(there are: structure, id\)"):
        resolve([str(write("structure\tid\nCCO\t1\n", "a.txt"))], "mol")


@pytest.mark.parametrize("row", ['"one\nname",CCO,5', '"one\n\nname","CCO","5"', 'x,CCO,"5\n6"', '"a\nb",CCO,"c\nd"'])
def test_quoted_lines_are_one_record_wherever_the_smiles_stands(write: Write, row: str) -> None:
    path = write(f"name,smiles,y\n{row}\n{row}\nz,CCN,7\n")
    assert molecules(path) == ["CCO", "CCO", "CCN"]


@pytest.mark.parametrize("first", ['"x,CCO,5', 'x,"CCO,5', 'x,CCO,"5', '"x, y",CCO,"5'])
def test_stray_quotes_hold_no_records_together(write: Write, first: str) -> None:
    path = write(f'name,smiles,y\n{first}\na,CCC,6\nb,CCN,6\nc",CCF,7\nd,CCCl,8\n')
    assert molecules(path)[1:] == ["CCC", "CCN", "CCF", "CCCl"]


def test_what_the_user_says_wins(write: Write) -> None:
    with pytest.raises(LibraryError, match="not clear"):
        resolve([str(write("a:smiles\n1:CCO\n"))])
    assert molecules(write("a:smiles\n1:CCO\n"), separator=":") == ["CCO"]
    both = "id;smiles,y;smiles\n1;CC,2;CCO\n"
    assert molecules(write(both), separator="semicolon") == ["CCO"]
    assert molecules(write("a smiles\n1 CCO\n", "a.txt"), separator="space") == ["CCO"]
    cyrillic = write("имя,smiles,доля\nа,CCO,1\nб,CCN,2\n", encoding="cp1251")
    assert labels(read(cyrillic, targets=["доля"], encoding="cp1251")) == {"CCO": 1, "CCN": 2}


@pytest.mark.parametrize(
    ("name", "option", "value", "told"),
    [
        ("a.smi", "smiles_column", "smiles", "--smiles-column says nothing about .*a.smi, which is not a table"),
        ("a.sdf", "separator", ";", "--separator says nothing about .*a.sdf"),
        ("a.csv", "separator", "::", "is not one character"),
        ("a.csv", "separator", '"', "is not one character"),
        ("a.csv", "encoding", "klingon", "no encoding 'klingon'"),
        ("a.csv", "encoding", "hex", "no encoding 'hex'"),
        ("a.csv", "encoding", "ascii", "not written in ascii"),
    ],
)
def test_options_that_cannot_apply_are_refused(write: Write, name: str, option: str, value: str, told: str) -> None:
    with pytest.raises(LibraryError, match=told):
        resolve([str(write("id,smiles\nµ,CCO\n", name))], **{option: value})


def test_an_option_may_apply_to_one_file_of_several(write: Write) -> None:
    paths = [write("mol,id\nCCO,1\n", "a.csv"), write("CCN\n", "b.smi")]
    assert [source.smiles_column for source in resolve([str(path) for path in paths], "mol")] == ["mol", None]


def test_options_that_cannot_apply_to_a_known_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--smiles-column says nothing about the MoleculeNet set 'ESOL'"):
        load("ESOL", smiles_column="smiles", data_root=tmp_path)


@pytest.mark.parametrize(
    ("content", "what"), [(b"PK\x03\x04" + bytes(99), "Excel"), (b"\x1f\x8b\x08" + bytes(99), "gzip")]
)
def test_what_is_no_text_is_told(write: Write, content: bytes, what: str) -> None:
    with pytest.raises(LibraryError, match=f"is no text .*{what}"):
        resolve([str(write(content))])


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"sep=;\n"])
def test_an_empty_table_has_no_columns(write: Write, content: bytes) -> None:
    with pytest.raises(LibraryError, match="it is empty; name another file"):
        resolve([str(write(content))])


def test_zeros_cost_their_own_row_only(write: Write) -> None:
    assert molecules(write(b"id,smiles\n1,C\x00C\n\x00,CCN\n")) == ["C\0C", "CCN"]


# Broken records


def long_table(broken: dict[int, str], size: int = 60) -> tuple[str, dict[str, float]]:
    """Return a table with some cells replaced, and the labels of the other rows."""
    lines = [f"{'C' * row}O,{broken.get(row, f'mol {row}')},{row}" for row in range(1, size)]
    return "\n".join(["smiles,name,y", *lines]), {f"{'C' * row}O": row for row in range(1, size) if row not in broken}


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("\"2'-amine", '"5 (old")'),  # the second cannot close the first
        ('"the, first', 'amine"'),  # the second could, but for the comma
        ("\"2'-amine", "2'-amine\""),  # the second could
        ("\"2'-amine", '"'),
    ],
)
@pytest.mark.parametrize("apart", [1, 2, 40])
def test_stray_quotes_move_no_label(write: Write, first: str, last: str, apart: int) -> None:
    content, whole = long_table({10: first, 10 + apart: last})
    path = write(content)
    found = labels(read(path, targets=["y"]))
    assert found.items() >= whole.items()
    assert all(value == len(smiles) - 1 for smiles, value in found.items())
    readable = [smiles for smiles in molecules(path) if smiles]
    assert readable == list(found)


def test_a_text_of_many_lines_is_one_cell(write: Write) -> None:
    text = '"An amide, they say.\nIt is white, or nearly.\nC, N and O are in it, 5 of them"'
    content, whole = long_table({20: text})
    found = labels(read(write(content), targets=["y"]))
    assert found == whole | {f"{'C' * 20}O": 20}


def test_rows_that_are_too_long_are_left_out_and_told(write: Write) -> None:
    content, whole = long_table({20: "acid, conc."})
    dataset = read(write(content), targets=["y"])
    assert labels(dataset) == whole
    assert [(invalid.row, invalid.reason) for invalid in dataset.invalid] == [(20, "has 4 cells, and the header 3")]


def test_rows_that_end_early_or_in_separators_keep_what_they_have(write: Write) -> None:
    dataset = read(write("smiles,name,y\nC,a,1\nCC\nCCC,b,3,,\nCCCC,c\n"), targets=["y"])
    assert dataset.labels[:, 0].tolist() == pytest.approx([1, np.nan, 3, np.nan], nan_ok=True)


# Columns


@pytest.mark.parametrize("wanted", ["IC50 (\u00b5M)", "IC50 (\u03bcM)", " IC50 (\u00b5M) "])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_a_column_is_found_however_its_name_is_typed(write: Write, wanted: str, encoding: str) -> None:
    path = write("smiles,IC50 (\u00b5M),caf\u00e9\nC,1,x\nCC,2,y\n", encoding=encoding)
    dataset = read(path, targets=[wanted, wanted.strip()], split_column="cafe\u0301")
    assert [target.name for target in dataset.targets] == ["IC50 (\u00b5M)"]
    assert dataset.groups == ("x", "y")


def test_a_name_that_several_columns_might_mean_is_refused(write: Write) -> None:
    path = write("smiles, y,y \nC,1,2\nCC,2,3\n")
    with pytest.raises(UsageError, match="more than one column 'y'"):
        read(path, targets=["y"])
    assert read(path, targets=[" y"]).labels[:, 0].tolist() == [1, 2]
    with pytest.raises(LibraryError, match="two columns are called 'smi'; rename one"):
        resolve([str(write("smi,smi\nC,N\n"))], "smi")


def test_the_smiles_are_no_labels(write: Write) -> None:
    with pytest.raises(UsageError, match="is the column with the SMILES"):
        read(write("smiles,y\nC,1\nCC,2\n"), targets=["y", " smiles"])


# Decimal commas


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("smiles;y\nC;1,5\nCC;2\nCCC;-,5\n", [1.5, 2, -0.5]),
        ("smiles;y\nC;1,234\nCC;6,123\n", [1.234, 6.123]),
        ("smiles\ty\nC\t1,5\nCC\t1,25e-3\n", [1.5, 0.00125]),
        ('smiles,y\nC,"1,5"\nCC,NA\nCCC,"2,0"\n', [1.5, np.nan, 2]),
    ],
)
def test_decimal_commas_are_read_where_a_column_agrees_on_them(
    write: Write, content: str, expected: list[float]
) -> None:
    assert read(write(content), targets=["y"]).labels[:, 0].tolist() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    "content",
    [
        "smiles;y\nC;-0.5\nCC;-1,2\n",
        "smiles;y\nC;1.234,5\nCC;2,5\n",
        "smiles\ty\nC\t1,234\nCC\t50,000\n",
    ],
)
def test_commas_that_may_mean_something_else_are_refused(write: Write, content: str) -> None:
    with pytest.raises(UsageError, match="with a decimal point"):
        read(write(content), targets=["y"])


# Names of data sets


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/2024.03.15_screen.csv", "2024.03.15_screen"),
        ("esol.CSV.gz", "esol"),
        ("a.b.tab.zst", "a.b"),
        ("s3://bucket/x.y/set.v2.parquet", "set.v2"),
        ("set", "set"),
        (".csv", ".csv"),
    ],
)
def test_a_data_set_is_called_as_its_file_without_known_suffixes(path: str, name: str) -> None:
    assert data_name(path) == name
