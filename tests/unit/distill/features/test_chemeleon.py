"""CheMeleon's vectors, which chemprop computes in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distill.features.pretrained.chemeleon import chemeleon_python, chemeleon_vectors
from distill.features.pretrained.encoders import check_installed, encoder_of
from teacher.errors import GallonError, UsageError

SMILES = ["CCO", "not one", "c1ccccc1", "[Na+].[Cl-]"]
WIDTH = 16
# As chemprop 2.3 keeps it: `BondMessagePassing(**hyper_parameters)`, then `load_state_dict(state_dict)`; only narrower.
CHECKPOINT = f"""
import sys, torch
from chemprop.nn import BondMessagePassing
torch.manual_seed(0)
settings = dict(d_v=72, d_e=14, d_h={WIDTH}, bias=False, depth=6, dropout=0.0, activation="relu", undirected=False)
torch.save({{"hyper_parameters": settings, "state_dict": BondMessagePassing(**settings).state_dict()}}, sys.argv[1])
"""
# Of each molecule, how long its SMILES is and how large the weights are; none where it has a space.
STUB = """
import sys, numpy
_, script, weights, vectors = sys.argv[1:]
size = len(open(weights, "rb").read())
lines = sys.stdin.read().splitlines()
if size == 0:
    sys.exit("no weights in it")
rows = [[numpy.nan] * 2 if " " in line else [len(line), size] for line in lines]
numpy.save(open(vectors, "wb"), numpy.array(rows, dtype="float32"))
"""


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "chemeleon_mp.pt"
    file.write_bytes(b"12345")
    monkeypatch.setenv("GALLON_CHEMELEON", str(file))
    return file


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with a command chemprop, linked to as uv does, and a Python that computes nearly nothing."""
    inside, on_path = tmp_path / "environment" / "bin", tmp_path / "path"
    inside.mkdir(parents=True)
    on_path.mkdir()
    (tmp_path / "stub.py").write_text(STUB)
    for name in ("chemprop", "python"):
        (inside / name).write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path / "stub.py"} "$@"\n')
        (inside / name).chmod(0o755)
    (on_path / "chemprop").symlink_to(inside / "chemprop")
    monkeypatch.setenv("PATH", str(on_path), prepend=":")


def test_weights_that_are_not_there_are_told_with_where_to_get_them(
    stub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GALLON_CHEMELEON", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"no file .*\.chemprop/chemeleon_mp\.pt: download .* https://zenodo\.org/"):
        check_installed("chemeleon")
    kept = tmp_path / ".chemprop" / "chemeleon_mp.pt"
    kept.parent.mkdir()
    kept.write_bytes(b"1")
    check_installed("chemeleon")  # what chemprop itself has downloaded will do
    monkeypatch.setenv("GALLON_CHEMELEON", str(tmp_path / "elsewhere.pt"))
    with pytest.raises(UsageError, match=r"no file .*elsewhere\.pt"):
        check_installed("chemeleon")


def test_chemprop_that_is_not_there_is_told(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="'chemeleon-linear' needs a command 'chemprop' on the PATH"):
        check_installed("chemeleon")


def test_vectors_come_back_molecule_by_molecule(stub: None, weights: Path) -> None:
    vectors = chemeleon_vectors(SMILES)
    assert vectors.dtype == np.float32
    assert vectors[[0, 2, 3]].tolist() == [[3, 5], [8, 5], [11, 5]]
    assert np.isnan(vectors[1]).all()


def test_vectors_are_known_by_the_weights_that_they_were_made_by(stub: None, weights: Path) -> None:
    before = encoder_of("chemeleon", "minilm")
    weights.write_bytes(b"54321")
    assert encoder_of("chemeleon", "minilm").version != before.version
    assert before.facts("tox21")["overlap"] is None  # descriptors are computed, whosoever's the molecules are


def test_what_chemprop_says_is_told_where_it_fails(stub: None, weights: Path) -> None:
    weights.write_bytes(b"")
    with pytest.raises(GallonError, match=r"chemeleon_mp\.pt \(no weights in it\)"):
        chemeleon_vectors(SMILES)


@pytest.mark.skipif(shutil.which("chemprop") is None, reason="there is no command chemprop")
def test_chemprop_reads_weights_of_chemeleons_format_and_no_other_pickle(weights: Path) -> None:
    python = chemeleon_python()
    subprocess.run([python, "-I", "-c", CHECKPOINT, weights], check=True)
    vectors = chemeleon_vectors(SMILES)
    assert vectors.shape == (len(SMILES), WIDTH)
    assert np.isnan(vectors[1]).all() and np.isfinite(vectors[[0, 2, 3]]).all()
    assert np.allclose(chemeleon_vectors([SMILES[2]]), vectors[2:3], atol=1e-5)  # whatever other molecules there are
    pickled = "import pathlib, sys, torch; torch.save({'hyper_parameters': pathlib.Path()}, sys.argv[1])"
    subprocess.run([python, "-I", "-c", pickled, weights], check=True)
    with pytest.raises(GallonError, match="chemprop could not embed molecules"):
        chemeleon_vectors(SMILES)
