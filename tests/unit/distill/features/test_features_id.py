"""The features' id is raised when features change: what stands in `features.json` is what its id stands for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from safetensors.numpy import save_file

from distill.data.dataset import read
from distill.features.features_id import features_id
from distill.features.vectors import DESCRIPTOR_SETS, student_features
from distill.learn.inputs import ModelInputs
from teacher.nn.graphs import Graphs

KNOWN = Path(__file__).with_name("features.json")
SMILES = ("CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O", "O=C1CCCCC1", "[Na+].[Cl-]", "FC(F)(F)c1ccc(Cl)nc1")


def summaries() -> dict[str, list[float]]:
    """Return a few numbers for each molecule that change when any of its features does."""
    mols = [Chem.MolFromSmiles(smiles) for smiles in SMILES]
    found = {}
    for descriptors in DESCRIPTOR_SETS:
        values = np.nan_to_num(student_features(mols, descriptors), nan=-1.0).astype(np.float64)
        weights = np.random.default_rng(0).normal(size=values.shape[1])
        found[descriptors] = (np.sign(values) * np.log1p(np.abs(values)) @ weights).tolist()
    graphs = [Graphs.of([mol]) for mol in mols]
    for part in ("atoms", "bonds", "ends"):
        found[part] = [mixed(getattr(graph, part).astype(np.float64)) for graph in graphs]
    return found


def mixed(values: np.ndarray) -> float:
    weights = np.random.default_rng(0).normal(size=values.size)
    return float(values.ravel() @ weights)


def test_features_that_change_get_another_id() -> None:
    known = json.loads(KNOWN.read_text())
    assert known["id"] == features_id(), (
        "write features.json anew: python -m tests.unit.distill.features.test_features_id"
    )
    for name, values in summaries().items():
        assert values == pytest.approx(known["summaries"][name], rel=1e-4, abs=1e-4), (
            f"{name} are other numbers now: raise VERSION in distill/features/features_id.py, then python -m "
            "tests.unit.distill.features.test_features_id"
        )


def test_what_others_computed_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.csv"
    path.write_text("smiles,y\n" + "".join(f"{smiles},{number}\n" for number, smiles in enumerate(SMILES)))
    dataset = read(path, targets=["y"])
    before = ModelInputs(dataset, None, tmp_path / "kept").features("lean")
    (file,) = (tmp_path / "kept").iterdir()
    save_file({"values": np.zeros_like(before)}, file)
    assert not ModelInputs(dataset, None, tmp_path / "kept").features("lean").any()
    monkeypatch.setattr("distill.learn.inputs.features_id", lambda: "another")
    assert ModelInputs(dataset, None, tmp_path / "kept").features("lean") == pytest.approx(before, nan_ok=True)


if __name__ == "__main__":
    KNOWN.write_text(json.dumps({"id": features_id(), "summaries": summaries()}, indent=1) + "\n")
