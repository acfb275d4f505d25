"""The transfer set: a random sample of a library, the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cluster.library.source import Source, resolve
from distill.data.dataset import Dataset, read
from distill.data.transfer import with_transfer_set
from teacher.errors import UsageError

LENGTHS = range(10, 170)
TAKEN = 40


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    (tmp_path / "data.csv").write_text("smiles,y\nCCO,1\nCCN,2\nCCCl,3\n")
    return read(tmp_path / "data.csv", targets=["y"])


def library(folder: Path, rows: Sequence[str], name: str = "library.smi") -> list[Source]:
    (folder / name).write_text("\n".join(rows) + "\n")
    return resolve([str(folder / name)])


def sizes(dataset: Dataset) -> list[int]:
    """Return how many atoms the molecules of the transfer set have."""
    return [mol.GetNumAtoms() for mol in dataset.mols()[3:]]


def test_the_sample_is_of_the_whole_library_in_its_order(dataset: Dataset, tmp_path: Path) -> None:
    found = sizes(with_transfer_set(dataset, library(tmp_path, ["C" * length for length in LENGTHS]), TAKEN))
    assert found == sorted(set(found)) and len(found) == TAKEN
    counts, _ = np.histogram(found, bins=4, range=(LENGTHS.start, LENGTHS.stop))
    assert counts.min() > TAKEN / 8  # a quarter of the library each


def test_a_sample_repeats_itself_however_the_library_is_cut_into_files(dataset: Dataset, tmp_path: Path) -> None:
    rows = ["C" * length for length in LENGTHS]
    whole = library(tmp_path, rows)
    parts = [*library(tmp_path, rows[:120], "first.smi"), *library(tmp_path, rows[120:], "second.smi")]
    sample = sizes(with_transfer_set(dataset, whole, TAKEN, seed=3))
    assert sizes(with_transfer_set(dataset, parts, TAKEN, seed=3)) == sample
    assert sizes(with_transfer_set(dataset, whole, TAKEN, seed=4)) != sample


def test_what_is_known_repeated_or_no_molecule_takes_no_place(dataset: Dataset, tmp_path: Path) -> None:
    good = ["C" * length for length in range(10, 40)]
    rows = [*["nonsense", "CCO", "NCC"] * 50, *(f"({number}" for number in range(500)), *good, *good]
    wider = with_transfer_set(dataset, library(tmp_path, rows), most=20)
    assert len(wider) == len(set(wider.keys)) == 23
    assert wider.keys[:3] == dataset.keys and np.isnan(wider.labels[3:]).all()
    assert len(with_transfer_set(dataset, library(tmp_path, rows), most=1000)) == 33


def test_a_library_without_other_molecules_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no molecule beside those of data"):
        with_transfer_set(dataset, library(tmp_path, ["CCO", "nonsense"]), most=5)
