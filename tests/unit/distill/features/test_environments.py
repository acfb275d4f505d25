"""Environments of atoms, found in one pass, are what RDKit's fingerprints count."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit.Chem import Mol, MolFromSmiles

from distill.features.environments import Environments, morgan
from distill.features.neighbours import packed_of
from distill.features.scaled import ScaledFeatures
from distill.features.vectors import DESCRIPTOR_SETS, DescriptorSet, Scaler, student_features
from teacher.tiny import library

ODD = ["[Na+].[Cl-]", "[Cu+2].[O-]C=O.[O-]C=O", "C", "[2H]C([2H])([2H])O", "C1CC1.C1CC1", "C" * 300, "[13CH4]"]


@pytest.fixture(scope="module")
def mols() -> list[Mol]:
    return [mol for smiles in [*ODD, *library.read(None)[:300]] if (mol := MolFromSmiles(smiles))]


@pytest.mark.parametrize(("radius", "size"), [(0, 1024), (1, 1024), (2, 2048)])
def test_counts_are_those_of_rdkits_fingerprints(mols: list[Mol], radius: int, size: int) -> None:
    expected = [morgan(radius, size).GetCountFingerprintAsNumPy(mol) for mol in mols]
    assert np.array_equal(Environments.of(mols).counts(radius, size), np.array(expected, dtype=np.float32))


def test_bits_are_those_that_molecules_are_compared_by(mols: list[Mol]) -> None:
    assert np.array_equal(Environments.of(mols).packed(), packed_of(mols))


@pytest.mark.parametrize("descriptors", [each for each in DESCRIPTOR_SETS if each != "all"])
def test_scaled_features_are_features_on_their_scale(mols: list[Mol], descriptors: DescriptorSet) -> None:
    features = student_features(mols, descriptors)
    scaler = Scaler.fit(features[: len(mols) // 2])
    found = ScaledFeatures(scaler, descriptors).of(mols, Environments.of(mols))
    assert found.dtype == np.float32
    assert np.allclose(found, scaler.transform(features), rtol=1e-6, atol=1e-6)


def test_a_scaler_of_other_features_is_refused(mols: list[Mol]) -> None:
    scaler = Scaler.fit(student_features(mols[:50], "lean"))
    with pytest.raises(ValueError, match=r"column \d+ of"):
        ScaledFeatures(scaler, "none")
