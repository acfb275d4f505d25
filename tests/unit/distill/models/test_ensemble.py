"""Several networks predict as one."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from rdkit.Chem import MolFromSmiles
from safetensors.numpy import load_file, save_file

import gallon
from cluster.library.source import resolve
from distill.models.ensemble import of_member, spread, together
from distill.models.model_store import WEIGHTS, read_card
from distill.screen.saved_model import SavedModel
from distill.screen.screening import screen
from tests.support.models import TARGET, untrained_student

SMILES = ["CCO", "c1ccccc1O", "CC(=O)O"]
MEMBERS = 3


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def alone(model: Path, member: int, folder: Path) -> np.ndarray:
    """Return what one network of an ensemble says by itself."""
    untrained_student(folder)
    save_file(of_member(load_file(model / WEIGHTS), member), folder / "student" / WEIGHTS)
    return SavedModel(folder / "student").predict([MolFromSmiles(each) for each in SMILES])


def test_networks_in_one_file_keep_their_arrays_apart() -> None:
    members = [{"network.head": number} for number in range(12)]
    file = together(members)
    assert [of_member(file, number)["network.head"] for number in range(12)] == list(range(12))
    assert of_member(file, 1) == {"network.head": 1} and file["network.head"] == 0


def test_spread_is_in_the_unit_of_what_is_predicted() -> None:
    assert spread([column(1, 5), column(3, 5)], "regression")[:, 0] == pytest.approx([2**0.5, 0])
    assert spread([column(50.0), column(-50.0)], "classification")[0, 0] == pytest.approx(0.5**0.5)
    assert np.isnan(spread([column(1)], "regression")).all()


@pytest.mark.parametrize("name", ["student-fingerprint", "student-atoms"])
def test_an_ensemble_predicts_the_mean_of_its_networks_packed_or_not(tmp_path: Path, name: str) -> None:
    student = untrained_student(tmp_path / "several", name, members=MEMBERS)
    packed = gallon.pack(student, tmp_path / "student.zip")
    mols = [MolFromSmiles(each) for each in SMILES]
    said = SavedModel(packed).predict_with_doubt(mols)
    assert np.allclose(said.values, SavedModel(student).predict(mols))
    if name == "student-fingerprint":
        each = np.stack([alone(student, member, tmp_path / f"{member}") for member in range(MEMBERS)])
        assert np.allclose(said.values, each.mean(axis=0), atol=1e-6)
        assert np.allclose(said.spread, each.std(axis=0, ddof=1), atol=1e-6) and said.spread.min() > 0
    assert read_card(student).members == MEMBERS
    assert "3 networks predict together" in (student / "README.md").read_text(encoding="utf-8")


def test_the_spread_is_a_column_of_a_screening(tmp_path: Path) -> None:
    student = untrained_student(tmp_path, members=2)
    (tmp_path / "library.smi").write_text("CCO\nnonsense\n")
    out = tmp_path / "out.csv"
    screen(resolve([str(tmp_path / "library.smi")]), student, out, limit=None)
    first, second = csv.DictReader(out.read_text().splitlines())
    assert list(first)[3:7] == [TARGET, f"{TARGET}_low", f"{TARGET}_high", f"{TARGET}_spread"]
    assert float(first[f"{TARGET}_spread"]) > 0 and not second[f"{TARGET}_spread"]
