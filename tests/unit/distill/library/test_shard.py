"""Shards: every row of a library in its order, described as everywhere else."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pyarrow.feather
import pytest

from distill.features.vectors import DESCRIPTOR_SETS, DescriptorSet, Scaler, student_features
from distill.library import duplicates
from distill.library.shard import DamagedShardError, facts_of, graphs_of, read_columns, read_facts, vectors_of
from teacher.chemistry.molecule import parse
from teacher.nn.graphs import Graphs
from teacher.tiny import library
from tests.support.prepared import shard_of_rows

ODD = ["[Na+].[Cl-]", "F[P-](F)(F)(F)(F)F", "C/C=C/C", "C[C@H](N)C(=O)O", "[U]", "c1ccccc1", "C" * 300, "[OH2:1]"]


@pytest.fixture(scope="module")
def smiles() -> list[str]:
    return [*ODD, *library.read(None)[:60]]


def test_a_shard_holds_the_graphs_of_its_molecules(smiles: list[str], tmp_path: Path) -> None:
    found = graphs_of(shard_of_rows(tmp_path, [*smiles[:5], "nonsense", *smiles[5:]]))
    mols = [parse(each.encode()).mol for each in smiles]
    expected = Graphs.of(mols)
    kept = found.take(np.array([row for row in range(len(found)) if row != 5]))
    for name in ("atoms", "bonds", "ends", "atom_starts", "bond_starts"):
        assert np.array_equal(getattr(kept, name), getattr(expected, name)), name
    assert found.take(np.array([5])).atoms.shape == (0, 9)


@pytest.mark.parametrize("descriptors", DESCRIPTOR_SETS)
def test_a_shard_holds_the_features_of_a_student(descriptors: DescriptorSet, smiles: list[str], tmp_path: Path) -> None:
    features = student_features([parse(each.encode()).mol for each in smiles], descriptors)
    scaler = Scaler.fit(features)
    found = vectors_of(shard_of_rows(tmp_path, smiles, descriptors), scaler)
    rows = np.array([3, 0, 50, 3, len(smiles) - 1])
    expected = scaler.transform(features[rows])
    # A matrix product of one row and one of many differ in their last bits.
    assert np.allclose(found.batch(rows).numpy(), expected, rtol=1e-4, atol=1e-4 if descriptors == "estimated" else 0)
    assert np.array_equal(found.take(rows).batch(np.arange(5)).numpy(), found.batch(rows).numpy())


def test_a_row_without_a_molecule_keeps_its_place_its_text_and_the_reason(tmp_path: Path) -> None:
    file = shard_of_rows(tmp_path, ["CCO", "c1ccc", "", "OCC"])
    table = pyarrow.feather.read_table(file)
    assert table["smiles"].to_pylist() == ["CCO", None, None, "CCO"]
    assert table["raw"].to_pylist() == [None, b"c1ccc", b"", None]
    assert [bool(error) for error in table["error"].to_pylist()] == [False, True, True, False]
    assert table["row"].to_pylist() == [1, 2, 3, 4]
    facts = read_facts(file)
    assert facts is not None and (facts.rows, facts.molecules) == (4, 2) and facts.reasons["is empty"] == 1


@pytest.mark.parametrize("descriptors", DESCRIPTOR_SETS)
def test_a_shard_without_a_molecule_has_the_columns_of_all_others(descriptors: DescriptorSet, tmp_path: Path) -> None:
    features = student_features([parse(b"CCO").mol, parse(b"CCN").mol], descriptors)
    file = shard_of_rows(tmp_path, ["nonsense", ""], descriptors)
    assert vectors_of(file, Scaler.fit(features)).dense(np.arange(2)).shape == features.shape
    assert len(graphs_of(file)) == 2


def test_what_nobody_foresaw_about_one_molecule_costs_that_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_for_ethanol(mol: object) -> object:
        if mol.GetNumAtoms() == 3:  # type: ignore[attr-defined]
            raise RuntimeError("bad\nluck")
        return [], [], []

    monkeypatch.setattr("distill.library.shard.describe_graph", fail_for_ethanol)
    table = pyarrow.feather.read_table(shard_of_rows(tmp_path, ["CC", "CCO"]))
    assert table["error"].to_pylist() == [None, "cannot be described: RuntimeError: bad luck"]
    assert table["smiles"].to_pylist() == ["CC", None]


def test_a_damaged_shard_is_none(tmp_path: Path) -> None:
    file = shard_of_rows(tmp_path, ["CCO", "CCN"])
    file.write_bytes(file.read_bytes()[:-40])
    assert read_facts(file) is None
    assert read_facts(tmp_path / "missing.arrow") is None


@pytest.mark.parametrize("damage", ["cut off", "empty", "missing"])
def test_a_damaged_shard_is_told_in_one_sentence_whoever_reads_it(damage: str, tmp_path: Path) -> None:
    file = shard_of_rows(tmp_path, ["CCO", "CCN"])
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-40] if damage == "cut off" else b"")
    for read in (facts_of, graphs_of, functools.partial(read_columns, names=["key"])):
        with pytest.raises(
            DamagedShardError, match=r"arrow is missing or damaged: run the same 'gallon prepare' again"
        ):
            read(file)


@pytest.mark.parametrize("at_a_time", [2, 1000])
def test_duplicates_are_found_across_shards_in_any_number_of_passes(
    at_a_time: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "KEYS_AT_A_TIME", at_a_time)
    rows = [["CCO", "CCC", "OCC", "CN"], ["nonsense", "CCC"], ["CCN", "C(C)O", "NC", "CCCl"]]
    files = [shard_of_rows(tmp_path, some, number=number) for number, some in enumerate(rows)]
    assert duplicates.write(files, tmp_path, 9) == 4
    table = pyarrow.parquet.read_table(tmp_path / duplicates.FILE).to_pydict()
    found = list(zip(*table.values(), strict=True))
    assert found == [(0, 2, 0, 0), (1, 1, 0, 1), (2, 1, 0, 0), (2, 2, 0, 3)]
    assert {shard: places.tolist() for shard, places in duplicates.read(tmp_path).items()} == {
        0: [2],
        1: [1],
        2: [1, 2],
    }
