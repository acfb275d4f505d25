"""Splits: who is in which part, and what makes two splits the same."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from rdkit.Chem import Mol

from distill.data.dataset import Dataset, read
from distill.data.splits import DRAWN, KINDS, SplitKind, folds, scaffold_of, split, splits_under
from teacher.errors import UsageError

SIZES = range(3, 13)
RINGS = [f"C1{'C' * (size - 2)}C1" for size in SIZES] + [f"N1{'C' * (size - 2)}C1" for size in SIZES]
ROWS = [f"{'C' * length}{ring},{length}" for ring in RINGS for length in (1, 2, 3)]


def dataset_of(folder: Path, rows: list[str], header: str = "smiles,y", **options) -> Dataset:
    path = folder / f"{abs(hash(tuple(rows)))}.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return read(path, targets=["y"], **options)


@pytest.fixture
def rings(tmp_path: Path) -> Dataset:
    return dataset_of(tmp_path, ROWS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("column", "time")])
def test_parts_are_disjoint_and_together_everything(rings: Dataset, kind: SplitKind):
    parts = split(rings, kind)
    together = np.concatenate([parts.train, parts.valid, parts.test])
    assert sorted(together) == list(range(len(rings)))
    assert together.dtype == np.int64


@pytest.mark.parametrize("kind", ["scaffold", "random-scaffold", "scaffold-cv"])
def test_a_scaffold_stands_in_one_part(rings: Dataset, kind: SplitKind):
    parts = split(rings, kind, seed=3)
    rows = [set(part // 3) for part in (parts.train, parts.valid, parts.test)]  # three rows to a ring
    assert sum(map(len, rows)) == len(RINGS)


@pytest.mark.parametrize("kind", ["scaffold", "random-scaffold", "scaffold-cv", "random"])
def test_splits_under_several_seeds_are_those_of_each_with_scaffolds_found_once(
    rings: Dataset, kind: SplitKind, monkeypatch: pytest.MonkeyPatch
):
    alone = [split(rings, kind, seed=seed, chirality=True) for seed in range(3)]
    asked = []

    def counted(mol: Mol, *, chirality: bool) -> str:
        asked.append(mol)
        return scaffold_of(mol, chirality=chirality)

    monkeypatch.setattr("distill.data.splits.scaffold_of", counted)
    together = splits_under(range(3), rings, kind, chirality=True)
    assert [parts.sha256 for parts in together] == [parts.sha256 for parts in alone]
    assert [parts.seed for parts in together] == ([0, 1, 2] if kind in DRAWN else [None] * 3)
    assert len(asked) == (0 if kind == "random" else len(rings))


def test_scaffolds_come_by_size_then_from_the_last(tmp_path: Path):
    # Ten molecules: 8 fit into training, 9 into training and validation. Sizes 4, 3, 1, 1, 1.
    rows = [
        *["Oc1ccccc1,1", "C1CC1,2", "Nc1ccccc1,3", "C1CCCC1,4", "c1ccncc1,5"],
        *["Cc1ccccc1,6", "Cc1ccncc1,7", "C1CCCCC1,8", "CCc1ccccc1,9", "CCc1ccncc1,10"],
    ]
    parts = split(dataset_of(tmp_path, rows), "scaffold")
    assert parts.train.tolist() == [0, 2, 4, 5, 6, 7, 8, 9]  # the two large groups, then the last of those of one
    assert (parts.valid.tolist(), parts.test.tolist()) == ([3], [1])


def test_each_molecule_judges_once_in_a_repeat_and_repeats_differ(rings: Dataset):
    splits = [split(rings, "scaffold-cv", seed=seed) for seed in range(10)]
    for repeat in (splits[:5], splits[5:]):
        assert sorted(np.concatenate([parts.test for parts in repeat])) == list(range(len(rings)))
        assert {len(parts.test) for parts in repeat} == {len(rings) // 5}
        assert {len(parts.valid) for parts in repeat} == {len(rings) // 10}
    assert len({parts.sha256 for parts in splits}) == 10
    assert splits[7].describe().startswith("scaffold-cv split, without chirality, seed 7 (repeat 2, fold 3 of 5), ")


def test_a_large_scaffold_has_a_fold_of_its_own(tmp_path: Path):
    dataset = dataset_of(tmp_path, [*(f"{'C' * length}c1ccccc1,{length}" for length in range(1, 13)), *ROWS[:48]])
    tests = [set(split(dataset, "scaffold-cv", seed=seed).test.tolist()) for seed in range(5)]
    assert set(range(12)) in tests


def test_chirality_parts_scaffolds_only_on_request(tmp_path: Path):
    left, right = "N1C(=O)OC[C@@H]1c1ccccc1", "N1C(=O)OC[C@H]1c1ccccc1"
    mirrored = [f"{'C' * length}{half},{length}" for half in (left, right) for length in (1, 2, 3)]
    dataset = dataset_of(tmp_path, mirrored + ROWS)

    def together(chirality: bool) -> set[bool]:
        """Say whether the mirror images were in training together, and whether they were apart."""
        trained = [split(dataset, "random-scaffold", seed=seed, chirality=chirality).train for seed in range(20)]
        return {bool((0 in train) == (3 in train)) for train in trained}

    assert together(chirality=False) == {True}
    assert together(chirality=True) == {True, False}
    assert split(dataset).describe().startswith("scaffold split, without chirality")
    assert split(dataset, chirality=True).describe().startswith("scaffold split, with chirality")


@pytest.mark.parametrize("kind", ["random", "random-scaffold", "scaffold-cv"])
def test_random_parts_follow_the_seed_and_not_the_rows(tmp_path: Path, kind: SplitKind):
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    one, other = dataset_of(tmp_path, ROWS), dataset_of(tmp_path, shuffled)
    assert split(one, kind, seed=1).sha256 == split(other, kind, seed=1).sha256
    assert split(one, kind, seed=1).sha256 != split(one, kind, seed=2).sha256


def test_a_column_names_the_parts(tmp_path: Path):
    rows = ["C,1,train", "CC,2, Validation", "CCC,3,TEST", "CCCC,4,train"]
    parts = split(dataset_of(tmp_path, rows, "smiles,y,part", split_column="part"), "column")
    assert (parts.train.tolist(), parts.valid.tolist(), parts.test.tolist()) == ([0, 3], [1], [2])
    assert "seed" not in parts.describe()


def test_a_column_that_says_something_else_is_told(tmp_path: Path):
    rows = ["C,1,train", "CC,2,fold3"]
    with pytest.raises(UsageError, match="says 'fold3' of CC"):
        split(dataset_of(tmp_path, rows, "smiles,y,part", split_column="part"), "column")


YEARS = [2003, 2001, 2001, 1999, 2002, 2001, 2001, 2001, 2003, 2001, 2002, 1998]


def dated(folder: Path, cells: list[str]) -> Dataset:
    rows = [f"{'C' * number},{number},{cell}" for number, cell in enumerate(cells, start=1)]
    return dataset_of(folder, rows, "smiles,y,when", time_column="when")


@pytest.mark.parametrize("written", [str, lambda year: f"{year}-07-01", lambda year: f"{year}-07-01T12:30:00Z"])
def test_a_time_split_learns_from_the_oldest_and_judges_by_the_newest(tmp_path: Path, written):
    parts = split(dated(tmp_path, [written(year) for year in YEARS]), "time", seed=3)
    of_parts = [{YEARS[row] for row in rows} for rows in (parts.train, parts.valid, parts.test)]
    assert of_parts == [{1998, 1999, 2001}, {2002}, {2003}]  # what is of one moment stays together
    assert parts.seed is None and parts.chirality is None


def test_a_molecule_is_as_old_as_its_first_row(tmp_path: Path):
    rows = ["C,1,2001", "CC,2,2005", "CCC,3,2004", "CC,2.5,1990", "oops,,", "CCCC,4,2003"]
    read_back = dataset_of(tmp_path, rows, "smiles,y,when", time_column="when")
    assert read_back.times == (2001, 1990, 2004, 2003)


def test_times_that_cannot_be_read_are_told(tmp_path: Path, rings: Dataset):
    with pytest.raises(UsageError, match="the column 'when' holds 'soon' in row 2; a time split needs a number"):
        dated(tmp_path, ["2001", "soon", "2003"])
    with pytest.raises(UsageError, match="holds '2003' in row 2"):
        dated(tmp_path, ["2001-05-05", "2003", "2003-01-01"])
    with pytest.raises(UsageError, match="name it by --time-column"):
        split(rings, "time")
    with pytest.raises(UsageError, match=r"The time split of .* leaves its"):
        split(dated(tmp_path, ["2001"] * 10), "time")


def test_what_cannot_be_split_is_told(tmp_path: Path, rings: Dataset):
    with pytest.raises(UsageError, match="leaves its train part empty"):
        split(dataset_of(tmp_path, ["c1ccccc1,1", "Cc1ccccc1,2"]), "scaffold")
    with pytest.raises(UsageError, match="needs the column"):
        split(rings, "column")
    with pytest.raises(UsageError, match="no split 'spectral'"):
        split(rings, "spectral")  # type: ignore[arg-type]


def test_folds_hold_each_training_molecule_out_once():
    train = np.arange(3, 26)
    parts = folds(train, np.zeros((30, 2), np.float32), 4, seed=1)
    assert sorted(np.concatenate(parts)) == train.tolist()
    assert sorted(map(len, parts)) == [5, 6, 6, 6]


def test_folds_spread_a_rare_class():
    labels = np.zeros((100, 1), np.float32)
    labels[:7] = 1
    labels[90:] = np.nan
    parts = folds(np.arange(100), labels, 5, seed=2)
    assert sorted(int((labels[part] == 1).sum()) for part in parts) == [1, 1, 1, 2, 2]


def test_more_folds_than_molecules_are_told():
    with pytest.raises(UsageError, match="3 training molecules cannot be divided into 5 folds"):
        folds(np.arange(3), np.zeros((3, 1), np.float32), 5)
