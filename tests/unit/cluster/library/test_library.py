"""Reading molecule libraries: what is a row, in which order, and what damage costs."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cluster.library.errors import LibraryError
from cluster.library.rows import RAW_LIMIT, ROWS_PER_BLOCK, count, read, read_all
from cluster.library.source import Source, resolve
from cluster.library.streams import LINE_LIMIT
from distill.data.table import only_file

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
MOL_BLOCK = b"methane\n  test\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n    0.0    0.0    0.0 C   0  0\nM  END\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], str]:
    """Write a file, compressed as its suffix says, and return its path."""

    def _write(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(COMPRESS.get(path.suffix, bytes)(content))
        return str(path)

    return _write


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()


def raws(*patterns: str, column: str | None = None, limit: int | None = None) -> list[bytes]:
    return [raw for table in read_all(resolve(patterns, column), limit) for raw in table["raw"].to_pylist()]


def lines(number: int, width: int = 0) -> bytes:
    """Return lines with different molecules that compress badly enough to fill many pieces."""
    return b"".join(b"%s %s\n" % (smiles(i), os.urandom(width).hex().encode()) for i in range(number))


def smiles(i: int) -> bytes:
    return b"C" * (i % 50 + 1) + b"[%dC]" % i


# What is a row


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", [".smi", ".txt", ".smiles", ".SMI"])
def test_smiles_file_gives_the_first_word_of_every_line(
    write: Callable[[str, bytes], str], suffix: str, compression: str
) -> None:
    path = write(f"a{suffix}{compression}", b"CCO ethanol\nCCN\tethylamine 7\n  CO\nC,methane\n")
    assert raws(path) == [b"CCO", b"CCN", b"CO", b"C,methane"]


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", b","), (".tsv", b"\t")])
def test_csv_gives_the_cells_of_its_column(
    write: Callable[[str, bytes], str], suffix: str, delimiter: bytes, compression: str
) -> None:
    content = b"id,smiles,y\n1,CCO,0.5\n2,CCN,\n".replace(b",", delimiter)
    assert raws(write(f"a{suffix}{compression}", content)) == [b"CCO", b"CCN"]


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", [".sdf", ".sd"])
def test_sdf_gives_mol_blocks(write: Callable[[str, bytes], str], suffix: str, compression: str) -> None:
    record = MOL_BLOCK + b"> <price>\n5\n\n$$$$\n"
    source = resolve([write(f"a{suffix}{compression}", record + record)])[0]
    (table,) = read(source, 0)
    assert table["raw"].to_pylist() == [MOL_BLOCK, MOL_BLOCK]
    assert table["notation"].to_pylist() == ["molblock", "molblock"]


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_parquet_gives_its_column_and_nulls_as_empty(tmp_path: Path, kind: pa.DataType) -> None:
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [1, 2, 3], "SMILES": pa.array(["CCO", None, "CCN"]).cast(kind)}), path)
    assert raws(path) == [b"CCO", b"", b"CCN"]
    assert count(resolve([path])) == 3
    assert count(resolve([path]), 2) == 2


def test_tables_have_source_row_raw_and_notation(write: Callable[[str, bytes], str]) -> None:
    sources = resolve([write("a.smi", b"C\n" * (ROWS_PER_BLOCK + 2)), write("b.smi", b"N\nO\n")])
    tables = list(read_all(sources))
    assert tables[0].schema == pa.schema(
        {"source": pa.int32(), "row": pa.int64(), "raw": pa.binary(), "notation": pa.string()}
    )
    assert [table.num_rows for table in tables] == [ROWS_PER_BLOCK, 2, 2]
    assert tables[1].to_pylist()[-1] == {"source": 0, "row": ROWS_PER_BLOCK + 2, "raw": b"C", "notation": "smiles"}
    assert tables[2].to_pylist()[0] == {"source": 1, "row": 1, "raw": b"N", "notation": "smiles"}


def test_empty_lines_are_rows_and_the_last_line_end_makes_none(write: Callable[[str, bytes], str]) -> None:
    assert raws(write("a.smi", b"SMILES name\n\n \t\nC\n")) == [b"SMILES", b"", b"", b"C"]
    assert raws(write("b.smi", b"C\nN")) == [b"C", b"N"]
    assert raws(write("c.smi", b"")) == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_kind_of_line_end_ends_a_line(write: Callable[[str, bytes], str], end: bytes) -> None:
    assert raws(write("a.smi", end.join([b"C 1", b"", b"N 2", b""]))) == [b"C", b"", b"N"]
    assert raws(write("a.csv", end.join([b"smiles,y", b"C,1", b"", b"N,2", b""]))) == [b"C", b"N"]


def test_line_ends_between_two_pieces_are_one(write: Callable[[str, bytes], str]) -> None:
    content = b"".join(b"%s\r\n" % smiles(i) for i in range(60_000))
    for shift in range(3):
        read_back = raws(write("a.smi", b"C" * shift + content))
        assert len(read_back) == 60_000
        assert read_back[1:] == [smiles(i) for i in range(1, 60_000)]


def test_byte_order_mark_is_dropped(write: Callable[[str, bytes], str]) -> None:
    assert raws(write("a.smi", b"\xef\xbb\xbfCCO\n")) == [b"CCO"]
    assert raws(write("a.csv", b"\xef\xbb\xbfsmiles\nCCO\n")) == [b"CCO"]


def test_bytes_that_are_not_utf8_travel_unharmed(write: Callable[[str, bytes], str]) -> None:
    assert raws(write("a.smi", b"C\xff\xfe name\n\x00\n")) == [b"C\xff\xfe", b"\x00"]
    assert raws(write("a.csv", b"smiles,m\xfcller\nC\xff\xfe,1\nN\xc3\xa4,2\n")) == [b"C\xff\xfe", b"N\xc3\xa4"]


@given(content=st.binary() | st.lists(st.sampled_from([b"C", b" ", b"\n", b"\r", b"\xef\xbb\xbf"])).map(b"".join))
def test_any_bytes_are_a_smiles_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.smi"
    path.write_bytes(content)
    source = Source(str(path), "smiles")
    rows = [row for table in read(source, 0) for row in table["row"].to_pylist()]
    assert rows == list(range(1, count([source]) + 1))
    assert len(rows) == len(content.removeprefix(b"\xef\xbb\xbf").splitlines())


@given(content=st.binary() | st.text(alphabet='"C,\n\r\t ').map(str.encode))
def test_any_bytes_below_a_header_are_a_csv_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"smiles,name\n" + content)
    source = Source(str(path), "csv", "smiles")
    assert sum(table.num_rows for table in read(source, 0)) == count([source]) <= len(content.splitlines())


def test_endless_line_is_one_row_in_little_memory(write: Callable[[str, bytes], str]) -> None:
    path = write("a.smi.zst", b"CC\n" + b"C" * 128 * LINE_LIMIT + b"\nCCC\n")
    source = resolve([path])[0]
    tracemalloc.start()
    (table,) = read(source, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table["raw"].to_pylist() == [b"CC", b"C" * RAW_LIMIT, b"CCC"]
    assert peak < 80 * LINE_LIMIT


def test_what_stands_behind_an_endless_line_without_end_is_nothing(write: Callable[[str, bytes], str]) -> None:
    assert raws(write("a.smi", b"C\n" + b"N" * 3 * LINE_LIMIT)) == [b"C", b"N" * RAW_LIMIT]
    assert raws(write("a.smi", b"N" * LINE_LIMIT + b"NN\r" + b"C\r")) == [b"N" * RAW_LIMIT, b"C"]


# CSV


def test_quoted_cells_hold_commas_and_line_ends(write: Callable[[str, bytes], str]) -> None:
    content = b'name,smiles\n"a, b\nc","CCO"\nd,CCN\n'
    assert raws(write("a.csv", content)) == [b"CCO", b"CCN"]


def test_short_records_give_empty_rows_and_blank_lines_none(write: Callable[[str, bytes], str]) -> None:
    assert raws(write("a.csv", b"name,smiles\na\n\n,CCO\n")) == [b"", b"CCO"]


@pytest.mark.parametrize(
    ("broken", "because"),
    [
        (b'"CCO,1\n', "the quote is never closed"),
        (b'"CCO"C,1\n', "something follows the closing quote"),
        (b'CCO,"' + b"x" * LINE_LIMIT + b"\n", "the line is too long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("rows_after", [0, 3, 100_000])
def test_broken_record_costs_its_own_line_only(
    write: Callable[[str, bytes], str], broken: bytes, because: str, rows_after: int
) -> None:
    path = write("a.csv", b"smiles,name\nC,0\n" + broken + b'N,"2, two"\nO,3 and some text\n' + b"F,4\n" * rows_after)
    assert raws(path) == [b"C", b"", b"N", b"O"] + [b"F"] * rows_after


def test_many_broken_records_cost_one_line_each(write: Callable[[str, bytes], str]) -> None:
    path = write("a.csv", b"smiles,name\n" + b'C,1\n"N,2\n' * 20_000)
    assert raws(path) == [b"C", b""] * 20_000


def test_long_comment_is_no_error(write: Callable[[str, bytes], str]) -> None:
    assert raws(write("a.csv", b"comment,smiles\n" + b"x" * 500_000 + b",CCO\n")) == [b"CCO"]


# SDF


def test_text_of_any_encoding_beside_a_molecule_costs_nothing(write: Callable[[str, bytes], str]) -> None:
    title = "μ-Äthanol".encode("utf-16-le").replace(b"\n", b"")
    sdf = write("a.sdf", title + MOL_BLOCK + b"> <Preis in \x80>\n5 \xa3\n\n$$$$\n" + MOL_BLOCK)
    assert raws(sdf) == [title + MOL_BLOCK, MOL_BLOCK]
    assert raws(write("a.smi", b"CCO \xc4thanol\nCCN \x96\xff\n")) == [b"CCO", b"CCN"]
    assert raws(write("b.sdf", (MOL_BLOCK + b"$$$$\n").decode().encode("utf-16"))) == [MOL_BLOCK]


def test_last_sdf_record_needs_no_separator(write: Callable[[str, bytes], str]) -> None:
    assert raws(write("a.sdf", MOL_BLOCK + b"$$$$\n" + MOL_BLOCK)) == [MOL_BLOCK] * 2
    assert raws(write("b.sdf", MOL_BLOCK + b"$$$$\n\n  \n")) == [MOL_BLOCK]


def test_sdf_record_without_end_is_whole_and_an_empty_one_is_a_row(write: Callable[[str, bytes], str]) -> None:
    assert raws(write("a.sdf", b"no molecule\n$$$$\n$$$$\n" + MOL_BLOCK + b"$$$$\n")) == [
        b"no molecule\n",
        b"",
        MOL_BLOCK,
    ]


def test_endless_sdf_record_is_cut(write: Callable[[str, bytes], str]) -> None:
    path = write("a.sdf", b"x\n" * RAW_LIMIT + b"$$$$\n" + MOL_BLOCK)
    assert [len(raw) for raw in raws(path)] == [RAW_LIMIT, len(MOL_BLOCK)]


# Limits and counts


@pytest.mark.parametrize("limit", [None, 0, 1, 2, 3, 4, 6, 99])
def test_limit_takes_the_first_rows_over_the_files_in_order(
    write: Callable[[str, bytes], str], limit: int | None
) -> None:
    paths = [
        write("a.smi", b"C\nCC\n"),
        write("b.csv", b"smiles\nN\n"),
        write("c.smi", b""),
        write("d.sdf", MOL_BLOCK + b"$$$$\n"),
        write("e.smi.gz", b"O\nOO\n"),
    ]
    expected = [b"C", b"CC", b"N", MOL_BLOCK, b"O", b"OO"][:limit]
    assert raws(*paths, limit=limit) == expected
    assert count(resolve(paths), limit) == len(expected)


def test_limit_of_one_file_is_exact_beyond_a_block(write: Callable[[str, bytes], str]) -> None:
    (source,) = resolve([write("a.smi", b"C\n" * 3 * ROWS_PER_BLOCK)])
    assert [table.num_rows for table in read(source, 0, ROWS_PER_BLOCK + 1)] == [ROWS_PER_BLOCK, 1]


# Finding files


def test_globs_are_sorted_and_files_named_twice_are_taken_once(
    write: Callable[[str, bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b, a, c = write("b.smi", b"B\n"), write("a.smi", b"C\n"), write("c.csv", b"smiles\nN\n")
    monkeypatch.chdir(tmp_path)
    assert resolve(["c.csv", "*.smi", str(tmp_path / "a.smi"), "./c.csv", f"file://{b}"]) == [
        Source(c, "csv", "smiles"),
        Source(a, "smiles", None),
        Source(b, "smiles", None),
    ]


def test_tilde_is_the_home_folder(
    write: Callable[[str, bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("a.smi", b"C\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [source.path for source in resolve(["~/a.smi", "~/*.smi"])] == [path]


def test_name_with_brackets_is_no_glob_if_it_exists(write: Callable[[str, bytes], str]) -> None:
    assert raws(write("a[1].smi", b"C\n")) == [b"C"]


def test_urls_are_read_and_globbed(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/lib/b.smi.gz", gzip.compress(b"N\n"))
    memory.pipe("/lib/a.csv", b"smiles\nC\n")
    memory.pipe("/lib/c.parquet", b"")
    with memory.open("/lib/c.parquet", "wb") as file:
        pq.write_table(pa.table({"smi": ["O"]}), file)
    assert [source.path for source in resolve(["memory://lib/*"])] == [
        "memory:///lib/a.csv",
        "memory:///lib/b.smi.gz",
        "memory:///lib/c.parquet",
    ]
    assert raws("memory://lib/*") == [b"C", b"N", b"O"]
    assert raws("memory://lib/b.smi.gz") == [b"N"]
    assert raws("simplecache::memory://lib/b.smi.gz") == [b"N"]


def test_the_password_of_a_url_is_not_shown() -> None:
    with pytest.raises(LibraryError, match=r"https://\*\*\*@127\.0\.0\.1:1/a\.csv") as caught:
        resolve(["https://somebody:Se@kret@127.0.0.1:1/a.csv"])
    assert "kret" not in str(caught.value)
    for name in ("a.csv", "b.csv"):
        with fsspec.open(f"memory://somebody:Sekret@host/{name}", "w") as file:
            file.write("smiles,y\nC,1\n")
    with pytest.raises(LibraryError, match=r"memory://\*\*\*@host/\*\.csv matches 2 files"):
        only_file("memory://somebody:Sekret@host/*.csv", None)
    assert Source("s3://key:Sekret@bucket/a@b.smi", "smiles").shown == "s3://***@bucket/a@b.smi"
    assert Source("/data/a@b.smi", "smiles").shown == "/data/a@b.smi"


@pytest.mark.parametrize("pattern", ["missing.smi", "missing*.smi", "memory://missing.smi", "memory://missing/*.smi"])
def test_missing_file_is_refused(pattern: str) -> None:
    with pytest.raises(LibraryError, match=r"No file matches .*missing"):
        resolve([pattern])


@pytest.mark.parametrize("pattern", ["nosuch://a.smi", "hdfs2://a/*.smi"])
def test_unknown_kind_of_url_is_refused(pattern: str) -> None:
    with pytest.raises(LibraryError, match="cannot be opened: Protocol not known"):
        resolve([pattern])


def test_unknown_suffix_is_refused_with_the_known_ones(write: Callable[[str, bytes], str]) -> None:
    for name in ("a.xlsx", "a", "a.gz", "a.smi.bz2", "a.parquet.gz"):
        with pytest.raises(LibraryError, match=r"known are \.smi .* \.parquet"):
            resolve([write(name, b"C\n")])


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="is a directory; name its files"):
        resolve([str(tmp_path)])


def test_every_name_is_checked_before_a_file_is_opened(write: Callable[[str, bytes], str]) -> None:
    broken = write("broken.parquet", b"")
    with pytest.raises(LibraryError, match=r"a\.doc has no suffix"):
        resolve([broken, write("a.doc", b"")])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_forbidden_file_is_refused(write: Callable[[str, bytes], str]) -> None:
    path = write("a.smi", b"C\n")
    Path(path).chmod(0)
    with pytest.raises(LibraryError, match="cannot be read: Permission denied"):
        resolve([path])


# Columns


@pytest.mark.parametrize("name", ["smiles", "SMILES", "smi", "Canonical_SMILES", "isomeric_smiles", " smiles"])
def test_usual_column_is_found(write: Callable[[str, bytes], str], name: str) -> None:
    (source,) = resolve([write("a.csv", b"id,%s\n1,C\n" % name.encode())])
    assert source.smiles_column == name


def test_named_column_wins(write: Callable[[str, bytes], str]) -> None:
    assert raws(write("a.csv", b"smiles,mol\nC,N\n"), column="mol") == [b"N"]


@pytest.mark.parametrize("header", [b"id,mol\n", b"smiles,SMI\n"])
def test_column_that_cannot_be_guessed_is_asked_for(write: Callable[[str, bytes], str], header: bytes) -> None:
    with pytest.raises(LibraryError, match=r"--smiles-column \(there are: \w+, \w+\)"):
        resolve([write("a.csv", header)])


def test_missing_column_is_refused_with_those_there_are(write: Callable[[str, bytes], str], tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"no text column 'mol'.* \(there are: id, smiles\)"):
        resolve([write("a.csv", b"id,smiles\n")], "mol")
    pq.write_table(pa.table({"id": [1], "smiles": ["C"], "more": [["C"]]}), tmp_path / "a.parquet")
    with pytest.raises(LibraryError, match=r"no text column 'id'.* \(there are: smiles\)"):
        resolve([str(tmp_path / "a.parquet")], "id")


def test_csv_without_header_is_refused(write: Callable[[str, bytes], str]) -> None:
    with pytest.raises(LibraryError, match=r"it is empty; name another file"):
        resolve([write("a.csv", b"")])


def test_wide_file_does_not_flood_the_message(write: Callable[[str, bytes], str]) -> None:
    with pytest.raises(LibraryError, match="and more") as refusal:
        resolve([write("a.csv", b",".join(b"column%d" % i for i in range(5_000)))])
    assert len(str(refusal.value)) < 1_000


# Damage


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b"CCO\n"),
        ("a.smi.gz", b"CCO\n"),
        ("a.smi.zst", b"CCO\n"),
        ("a.csv.gz", gzip.compress(b"smiles\nC\n", mtime=0)[:8]),
        ("a.sdf.zst", COMPRESS[".zst"](MOL_BLOCK)[:8]),
        ("a.smi.gz", b""),
    ],
)
def test_file_that_is_not_what_its_suffix_says_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LibraryError, match=f"{name} cannot be read: "):
        resolve([str(tmp_path / name)])


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_truncated_file_gives_its_whole_rows_and_then_an_error(tmp_path: Path, compression: str) -> None:
    path = tmp_path / f"a.smi{compression}"
    whole = COMPRESS[compression](lines(20_000, width=20))
    path.write_bytes(whole[: len(whole) // 2])
    check_damaged(path)


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_corrupt_file_gives_the_rows_before_and_then_an_error(tmp_path: Path, compression: str) -> None:
    path = tmp_path / f"a.smi{compression}"
    frames = [COMPRESS[compression](lines(10_000, width=20)) for _ in range(2)]
    path.write_bytes(frames[0] + b"\xff" * 10 + frames[1])
    assert check_damaged(path) == 10_000


def check_damaged(path: Path) -> int:
    """Check that reading yields good rows only, then an error that counts them; return how many."""
    sources = resolve([str(path)])
    found: list[bytes] = []
    with pytest.raises(LibraryError, match=path.name) as damage:
        for table in read(sources[0], 0):
            found += table["raw"].to_pylist()
    assert len(found) > 5_000
    assert found == [smiles(i) for i in range(len(found))]
    assert f"no further than row {len(found):,}:" in str(damage.value)
    with pytest.raises(LibraryError, match=f"no further than row {len(found):,}:"):
        count(sources)
    assert count(sources, len(found)) == len(found)
    return len(found)


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_file_of_several_frames_is_read_whole(tmp_path: Path, compression: str) -> None:
    path = tmp_path / f"a.smi{compression}"
    path.write_bytes(b"".join(COMPRESS[compression](b"%s\n" % smiles(i)) for i in range(500)))
    assert raws(str(path)) == [smiles(i) for i in range(500)]


@pytest.mark.parametrize("zeros", [1, 512, 5_000])
def test_zeros_behind_a_gzip_file_are_padding(tmp_path: Path, zeros: int) -> None:
    path = tmp_path / "a.smi.gz"
    path.write_bytes(gzip.compress(b"C\nN\n") + b"\0" * zeros)
    assert raws(str(path)) == [b"C", b"N"]
    path.write_bytes(path.read_bytes() + gzip.compress(b"O\n"))
    assert raws(str(path)) == [b"C", b"N", b"O"]


@pytest.mark.parametrize(("suffix", "behind"), [(".gz", b"\0\0junk"), (".zst", b"\0" * 512)])
def test_anything_else_behind_a_compressed_file_is_damage(tmp_path: Path, suffix: str, behind: bytes) -> None:
    path = tmp_path / f"a.smi{suffix}"
    path.write_bytes(COMPRESS[suffix](b"C\n" * 10) + behind)
    with pytest.raises(LibraryError, match="can be read no further than row 10"):
        raws(str(path))


def test_file_that_vanishes_is_told_when_it_is_read(write: Callable[[str, bytes], str]) -> None:
    sources = resolve([write("a.smi", b"C\n")])
    Path(sources[0].path).unlink()
    with pytest.raises(LibraryError, match="row 0: No such file"):
        list(read_all(sources))


def test_file_that_loses_its_column_is_told_when_it_is_read(write: Callable[[str, bytes], str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"smiles": ["C"]}), tmp_path / "a.parquet")
    for source in (Source(str(tmp_path / "a.parquet"), "parquet", "x"), Source(write("a.csv", b""), "csv", "x")):
        with pytest.raises(LibraryError, match="row 0: it has no column 'x'"):
            list(read(source, 0))


# Ray


def test_datasource_reads_each_file_in_its_own_task(write: Callable[[str, bytes], str]) -> None:
    from cluster.library.datasource import LibraryDatasource

    datasource = LibraryDatasource(resolve([write("a.smi", b"C\nCC\n"), write("b.smi", b"N\n")]))
    assert datasource.get_name() == "Library"
    tasks = datasource.get_read_tasks(1)
    assert [[table["raw"].to_pylist() for table in task()] for task in tasks] == [[[b"C", b"CC"]], [[b"N"]]]
    assert [table["source"].to_pylist() for table in tasks[1]()] == [[1]]


def test_datasource_with_a_limit_reads_the_first_rows_in_one_task(write: Callable[[str, bytes], str]) -> None:
    from cluster.library.datasource import LibraryDatasource

    sources = resolve([write("a.smi", b"C\nCC\n"), write("b.smi", b"N\nNN\n")])
    (task,) = LibraryDatasource(sources, limit=3).get_read_tasks(8)
    assert [table["raw"].to_pylist() for table in task()] == [[b"C", b"CC"], [b"N"]]
