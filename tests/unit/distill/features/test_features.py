"""Features: what a column means, and what scaling does to the odd ones."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from rdkit.Chem import Mol, MolFromSmiles
from rdkit.Chem.Descriptors import CalcMolDescriptors
from rdkit.Chem.rdMolDescriptors import CalcCrippenDescriptors
from safetensors.numpy import load, save

from distill.features import fit_crippen
from distill.features.vectors import (
    CLIP,
    DESCRIPTOR_SETS,
    FINGERPRINT_BITS,
    DescriptorSet,
    Scaler,
    counts_and_properties,
    descriptor_names,
    ecfp,
    fingerprint_features,
    surroundings,
)
from teacher.tiny import library

SMILES = ["CCO", "CCCCCCCCCC", "c1ccccc1C(=O)O", "[Na+].[Cl-]", "CC(=O)Oc1ccccc1C(=O)O", "[Cu+2].[O-]C=O.[O-]C=O"]


def feature_names(descriptors: DescriptorSet = "all") -> tuple[str, ...]:
    """Return what the columns of `fingerprint_features` are."""
    return (*(f"morgan{bit}" for bit in range(FINGERPRINT_BITS)), *descriptor_names(descriptors))


@pytest.fixture
def mols() -> list[Mol]:
    return [MolFromSmiles(smiles) for smiles in SMILES]


def test_fingerprints_are_bits_and_logs_of_counts(mols: list[Mol]):
    bits, counts = ecfp(mols), fingerprint_features(mols, "none")
    assert bits.dtype == np.uint8
    assert set(np.unique(bits)) == {0, 1}
    assert counts.dtype == np.float32
    assert ((counts > 0) == bits).all()
    assert counts[1].max() == pytest.approx(np.log(9))  # the eight inner CH2 of decane


@pytest.mark.parametrize("descriptors", DESCRIPTOR_SETS)
def test_every_column_has_a_name_and_no_infinity(mols: list[Mol], descriptors: DescriptorSet):
    features = fingerprint_features(mols, descriptors)
    assert features.shape == (len(mols), len(feature_names(descriptors)))
    assert not np.isinf(features).any()


def test_descriptors_are_those_of_rdkit(mols: list[Mol]):
    aspirin = dict(zip(feature_names(), fingerprint_features(mols)[4], strict=True))
    expected = CalcMolDescriptors(mols[4])
    assert aspirin["MolLogP"] == pytest.approx(expected["MolLogP"], rel=1e-6)
    assert aspirin["Ipc"] == pytest.approx(np.log1p(expected["Ipc"]), rel=1e-6)
    lean = dict(zip(feature_names("lean"), fingerprint_features(mols, "lean")[4], strict=True))
    assert lean["tpsa"] == pytest.approx(expected["TPSA"], rel=1e-6)
    assert lean["PEOE_VSA1"] == pytest.approx(expected["PEOE_VSA1"], rel=1e-6)


@pytest.mark.parametrize("descriptors", ["lean", "estimated"])
def test_what_is_estimated_is_close_to_what_it_stands_for(descriptors: DescriptorSet):
    many = [mol for smiles in library.read(None)[:300] if (mol := MolFromSmiles(smiles))]
    columns = dict(zip(feature_names(descriptors), fingerprint_features(many, descriptors).T, strict=True))
    for name, place, share in (("EstimatedClogP", 0, 0.85), ("EstimatedMR", 1, 0.99)):
        truth = np.array([CalcCrippenDescriptors(mol)[place] for mol in many])
        known = np.isfinite(columns[name])
        assert known.mean() > 0.99
        assert np.corrcoef(truth[known], columns[name][known])[0, 1] ** 2 > share


def test_the_regression_is_learnt_from_what_it_reads(mols: list[Mol]):
    features = counts_and_properties(mols)
    wanted = np.stack([features[:, -1], features.sum(axis=1)], axis=1).astype(np.float64)
    learnt = fit_crippen.fit(features, wanted)
    guessed = features @ learnt["weights"] + learnt["bias"]
    assert learnt["weights"].shape == (features.shape[1], 2)
    assert np.corrcoef(wanted[:, 1], guessed[:, 1])[0, 1] > 0.95


def test_processes_change_nothing(mols: list[Mol]):
    many = mols * 50
    shared, alone = (fingerprint_features(many, "estimated", workers=workers) for workers in (2, 1))
    assert np.allclose(shared, alone, rtol=1e-4, atol=1e-4, equal_nan=True)  # chunks decide how BLAS adds up


def test_surroundings_are_logs_of_counts_of_atoms_and_of_atoms_with_neighbours():
    decane, ethane = surroundings([MolFromSmiles("CCCCCCCCCC"), MolFromSmiles("CC")])
    alone, around = np.split(np.expm1(decane), 2)
    assert sorted(alone[alone > 0]) == pytest.approx([2, 8])  # CH3 and CH2
    assert sorted(around[around > 0]) == pytest.approx([2, 2, 2, 6, 8])  # and CH2 beside CH3 and between CH2
    assert ((decane > 0) & (ethane > 0)).any()  # CH3


def test_what_is_standardised_is_not_rare():
    features = np.zeros((100, 3), np.float32)
    features[:4, 0] = features[:4, 1] = features[:5, 2] = 1
    assert Scaler.fit(features, fingerprint_bits=1).keep.tolist() == [0, 2]


def test_descriptors_are_standardised_and_fingerprints_are_not():
    features = np.array([[0, 0.7, 1, 5], [1, 0.7, 3, 5]], np.float32)
    scaler = Scaler.fit(features, fingerprint_bits=2)
    assert scaler.keep.tolist() == [0, 2]  # the others are constant
    assert scaler.transform(features).tolist() == [[0, -1], [1, 1]]


def test_odd_values_stay_within_bounds():
    scaler = Scaler.fit(np.array([[1], [3], [np.nan]], np.float32), fingerprint_bits=0)
    odd = np.array([[np.nan], [1e30], [-1e30]], np.float32)
    assert scaler.transform(odd).tolist() == [[0], [CLIP], [-CLIP]]


def test_a_column_without_values_is_dropped():
    features = np.array([[np.nan, 1], [np.nan, 2]], np.float32)
    assert Scaler.fit(features, fingerprint_bits=0).keep.tolist() == [1]


def test_a_scale_is_fitted_some_columns_at_a_time_and_the_same(monkeypatch: pytest.MonkeyPatch):
    chance = np.random.default_rng(0)
    features = (chance.random((500, 1001)) * (chance.random(1001) * 2)).astype(np.float32)
    features[chance.random(features.shape) < 0.3] = 0
    features[chance.random(features.shape) < 0.1] = np.nan
    tracemalloc.start()
    parted = Scaler.fit(features, fingerprint_bits=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * features.nbytes
    monkeypatch.setattr("distill.features.vectors.COLUMNS_AT_A_TIME", 1001)
    whole = Scaler.fit(features, fingerprint_bits=300)
    for one, other in zip(parted.arrays().values(), whole.arrays().values(), strict=True):
        assert np.array_equal(one, other)


def test_a_scaler_can_be_saved(mols: list[Mol]):
    features = fingerprint_features(mols, "estimated")
    scaler = Scaler.fit(features)
    again = Scaler.from_arrays(load(save(scaler.arrays())))
    assert np.allclose(again.transform(features), scaler.transform(features))
    assert np.isfinite(scaler.transform(fingerprint_features(mols, "estimated"))).all()
    assert (scaler.keep < FINGERPRINT_BITS).any()
