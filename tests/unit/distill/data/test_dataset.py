"""Reading labelled molecules: what is a label, what is one molecule, and which mistakes are told."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from rdkit import Chem

from distill.data.dataset import Dataset, Invalid, read
from distill.data.moleculenet import SETS, load, moleculenet
from teacher.errors import UsageError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the lines of a CSV file, and return its path."""

    def _write(*lines: str, name: str = "set.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return _write


def column(dataset: Dataset, place: int = 0) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in dataset.labels[:, place]]


@pytest.mark.parametrize(
    ("cells", "kind", "labels"),
    [
        (["0", "1", "1.0"], "classification", [0, 1, 1]),
        (["-1", "1", ""], "classification", [0, 1, None]),
        (["TRUE", "false", "NA"], "classification", [1, 0, None]),
        (["yes", "No", "nan"], "classification", [1, 0, None]),
        (["0.5", "-2e1", "null"], "regression", [0.5, -20, None]),
        (["0", "1", "2"], "regression", [0, 1, 2]),
    ],
)
def test_the_values_tell_the_kind(write: Write, cells: list[str], kind: str, labels: list[float | None]):
    rows = [f"{'C' * size},{cell}" for size, cell in enumerate(cells, start=1)]
    dataset = read(write("smiles,y", *rows), targets=["y"])
    assert dataset.kind == kind
    assert column(dataset) == labels
    assert dataset.labels.dtype == np.float32


def test_rows_of_one_molecule_share_their_mean(write: Write):
    dataset = read(write("smiles,y", "OCC,1", "CCO,4", "C,7", "C(O)C,"), targets=["y"])
    assert dataset.smiles == ("CCO", "C")
    assert column(dataset) == [2.5, 7]
    assert (dataset.duplicates, dataset.conflicts) == (2, 0)


def test_rows_that_contradict_each_other_leave_no_class(write: Write):
    dataset = read(write("smiles,a,b", "OCC,1,1", "CCO,0,1", "C,0,0", "N,1,0"), targets=["a", "b"])
    assert column(dataset, 0) == [None, 0, 1]
    assert column(dataset, 1) == [1, 0, 0]
    assert dataset.conflicts == 1


def test_rows_that_rdkit_refuses_are_kept_apart(write: Write):
    dataset = read(write("smiles,y", "C,1", "C(C)(C)(C)(C)C,2", ",3", "CC,4"), targets=["y"])
    assert dataset.smiles == ("C", "CC")
    assert [invalid.row for invalid in dataset.invalid] == [2, 3]
    assert dataset.invalid[0].raw == "C(C)(C)(C)(C)C"
    assert dataset.invalid[1] == Invalid(3, "", "is empty")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["C,1", "CC,two", "CCC,three"], "'two' in row 2"),
        (["C,1", "CC,inf"], "'inf' in row 2"),
        (["C,1", "CC,1e39"], "'1e39' in row 2"),
        (["C,1,5", "CC,1"], "only the value 1"),
        (["C,1,5", "CC,1,2"], r"none of its 2 rows .* \(row 1 has 3 cells, and the header 2\)"),
        (["C,3", "CC,3"], "only the value 3"),
        (["C,", "CC,NA"], "no value"),
        (["C,1", "C(C)(C)(C)(C)C,0"], "only the value 1"),
        (["hello,1", "world,2"], "none of its 2 rows"),
        ([], "There is no row in"),
    ],
)
def test_labels_that_cannot_teach_are_told(write: Write, rows: list[str], told: str):
    with pytest.raises(UsageError, match=told):
        read(write("smiles,y", *rows), targets=["y"])


def test_an_absent_column_is_told_with_those_there_are(write: Write):
    with pytest.raises(UsageError, match=r"no column 'z'; there are: smiles, y"):
        read(write("smiles,y", "C,1", "CC,2"), targets=["z"])


def test_a_column_that_is_there_twice_is_told(write: Write):
    with pytest.raises(UsageError, match="more than one column 'y'"):
        read(write("smiles,y,y", "C,1,2", "CC,2,3"), targets=["y"])


def test_a_file_without_columns_is_told(write: Write):
    with pytest.raises(UsageError, match="has no columns"):
        read(write("C", "CC", name="set.smi"), targets=["y"])


def test_a_file_that_is_cut_off_is_told(tmp_path: Path):
    path = tmp_path / "set.csv.zst"
    rows = "".join(f"{'C' * (1 + row % 90)},{row}\n" for row in range(50_000))
    path.write_bytes(zstandard.compress(("smiles,y\n" + rows).encode())[:-100])
    with pytest.raises(UsageError, match="can be read no further than row"):
        read(path, targets=["y"])


def test_every_format_reads_alike(tmp_path: Path):
    text = b"smiles,y,part\nCCO,1.5,train\nOCC,2.5,train\nC,,test\nCC,4,val\n"
    files = {
        "a.csv": text,
        "a.csv.gz": gzip.compress(text),
        "a.csv.zst": zstandard.compress(text),
        "a.tsv": text.replace(b",", b"\t"),
        "b.csv": b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    columns = {
        "smiles": pa.array(["CCO", "OCC", "C", "CC"]).dictionary_encode(),
        "y": pa.array([1.5, 2.5, None, 4], pa.float32()),
        "part": ["train", "train", "test", "val"],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with Chem.SDWriter(str(tmp_path / "a.sdf")) as writer:
        for smiles, label, part in zip(["CCO", "OCC", "C", "CC"], [1.5, 2.5, None, 4], columns["part"], strict=True):
            mol = Chem.MolFromSmiles(smiles)
            fields = {"part": part} if label is None else {"y": str(label), "part": part}
            for name, value in fields.items():
                mol.SetProp(name, value)
            writer.write(mol)
    (tmp_path / "a.sdf.gz").write_bytes(gzip.compress((tmp_path / "a.sdf").read_bytes()))
    every = [*files, "a.parquet", "a.sdf", "a.sdf.gz"]
    read_all = [read(tmp_path / name, targets=["y"], split_column="part") for name in every]
    assert {dataset.sha256 for dataset in read_all} == {read_all[0].sha256}
    assert {dataset.groups for dataset in read_all} == {("train", "test", "val")}


def test_fields_and_titles_of_an_sd_file_are_its_columns(tmp_path: Path):
    path = tmp_path / "set.sdf"
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CO"))
    broken = "no molecule\n\n\nnonsense\nM  END\n"
    path.write_text(f"2019{block}> <y>\n1.5\n\n$$$$\n{broken}> <y>\n2\n\n> <z>\n3\n\n$$$$\n")
    with pytest.raises(UsageError, match="no column 'w'; there are: title, y, z"):
        read(path, targets=["w"])
    with pytest.raises(UsageError, match=r"only the value 1\.5"):
        read(path, targets=["y"])
    path.write_text(path.read_text() + f"2020{block.replace('C  ', 'S  ')}> <y>\n2.5\n\n$$$$\n")
    dataset = read(path, targets=["y"], time_column="title")
    assert (dataset.smiles, column(dataset), dataset.times) == (("CO", "OS"), [1.5, 2.5], (2019, 2020))
    assert [(invalid.row, invalid.raw) for invalid in dataset.invalid] == [(2, "no molecule")]
    path.write_text(f"{broken}> <y>\n2\n\n$$$$\n")
    with pytest.raises(UsageError, match=r"none of its 1 row holds a molecule \(row 1 .*\); check the mol blocks"):
        read(path, targets=["y"])


def test_the_hash_follows_molecules_labels_and_order(write: Write):
    def hashed(*rows: str) -> str:
        return read(write("smiles,y", *rows), targets=["y"]).sha256

    assert hashed("OCC,1", "C,2") == hashed("CCO,1.0", "[CH4],2")
    assert len({hashed("CCO,1", "C,2"), hashed("C,2", "CCO,1"), hashed("CCO,1", "C,3"), hashed("CC,1", "C,2")}) == 4


def test_a_molecule_in_two_parts_is_told(write: Write):
    with pytest.raises(UsageError, match="row 2 puts a molecule into 'test'"):
        read(write("smiles,y,part", "CCO,1,train", "OCC,2,test", "C,5,test"), targets=["y"], split_column="part")


def test_classes_and_numbers_have_no_common_kind(write: Write):
    dataset = read(write("smiles,a,b", "C,1,2.5", "CC,0,3"), targets=["a", "b"])
    with pytest.raises(UsageError, match="'a' holds classes and 'b' holds numbers"):
        _ = dataset.kind


def test_mols_are_those_of_the_smiles(write: Write):
    from rdkit.Chem import MolToSmiles

    dataset = read(write("smiles,y", "OCC,1", "c1ccccc1,4"), targets=["y"])
    assert tuple(map(MolToSmiles, dataset.mols())) == dataset.smiles


def test_a_local_copy_is_found_by_its_name(tmp_path: Path):
    copy = tmp_path / "freesolv" / "raw" / "SAMPL.csv"
    copy.parent.mkdir(parents=True)
    copy.write_text("iupac,smiles,expt,calc\nethanol,CCO,-5,-4\nmethane,C,2,2\n")
    dataset = load("FreeSolv", data_root=tmp_path)
    assert (dataset.name, column(dataset)) == ("freesolv", [-5, 2])


def test_sets_with_many_targets_take_all_their_columns(tmp_path: Path):
    (tmp_path / "tox21.csv").write_text("NR-AR,SR-p53,mol_id,smiles\n0,1,T1,CCO\n1,,T2,C\n,0,T3,CC\n")
    dataset = moleculenet("tox21", tmp_path)
    assert [target.name for target in dataset.targets] == ["NR-AR", "SR-p53"]


def test_a_set_is_a_benchmark_with_its_own_targets_alone(tmp_path: Path):
    (tmp_path / "esol.csv").write_text(f"smiles,weight,{SETS['esol'].targets[0]}\nC,16,1.5\nCC,30,2.5\n")
    known, other = moleculenet("esol", tmp_path), moleculenet("esol", tmp_path, targets=["weight"])
    assert (known.benchmark, other.benchmark) == (True, False)
    assert not read(tmp_path / "esol.csv", targets=SETS["esol"].targets).benchmark


def test_an_unknown_set_and_a_path_without_targets_are_told(tmp_path: Path):
    with pytest.raises(UsageError, match="no MoleculeNet set 'qm10'"):
        moleculenet("qm10", tmp_path)
    with pytest.raises(UsageError, match="Name the columns"):
        load("set.csv")


def test_moleculenet_is_read_as_its_card_says(shared_data: Path):
    dataset = moleculenet("bbbp", shared_data / "moleculenet")
    assert len(dataset) + dataset.duplicates + len(dataset.invalid) == 2050
    assert len(dataset.invalid) == 11
    assert dataset.kind == "classification"


def test_a_parquet_table_is_read_from_wherever_a_library_is() -> None:
    with fsspec.open("memory://learn/data.parquet", "wb") as file:
        pq.write_table(pa.table({"smiles": ["C", "CC", "CCC"], "y": [1.0, 2.0, 3.0]}), file)
    assert read("memory://learn/data.parquet", targets=["y"]).labels.ravel().tolist() == [1.0, 2.0, 3.0]
