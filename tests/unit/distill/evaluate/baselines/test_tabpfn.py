"""TabPFN as a baseline, with weights that nobody trained; and what is said where it cannot be one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

from distill.data.cells import Kind
from distill.data.dataset import read
from distill.data.splits import split
from distill.evaluate.baselines.baseline import Examples
from distill.evaluate.baselines.catalog import baseline
from distill.evaluate.predictions import CachedPredictions
from distill.features.environments import FINGERPRINT_BITS
from distill.features.pretrained.encoders import check_installed
from distill.features.pretrained.tabpfn import FOLDER
from distill.learn.inputs import ModelInputs
from teacher.errors import UsageError
from tests.support.tabpfn_weights import write_tabpfn

TABPFN = baseline("tabpfn")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if importlib.util.find_spec("tabpfn") is None:
        pytest.skip("tabpfn is not installed: pip install 'gallon[tabular]'")
    folder = tmp_path / "weights"
    write_tabpfn(folder)
    monkeypatch.setenv(FOLDER, str(folder))
    return folder


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_it_says_of_descriptors_what_tabpfn_says(weights: Path, kind: Kind) -> None:
    from tabpfn import TabPFNClassifier, TabPFNRegressor

    inputs = TABPFN.represent([Chem.MolFromSmiles("C" * n + "O" * (n % 3)) for n in range(1, 25)])
    labels = np.arange(24, dtype=np.float32) if kind == "regression" else (np.arange(24) % 2).astype(np.float32)
    labels[4] = np.nan
    learnt, rest = Examples(inputs[:20], labels[:20, None]), Examples(inputs[20:], labels[20:, None])
    found = TABPFN.fit(learnt, rest, kind=kind, seed=3, settings={"n_estimators": 2}).predict(inputs)

    known, columns = ~np.isnan(labels[:20]), inputs[:, FINGERPRINT_BITS:]
    make = TabPFNRegressor if kind == "regression" else TabPFNClassifier
    (file,) = weights.glob(f"*{make.__name__.removeprefix('TabPFN').lower()}*")
    theirs = make(model_path=file, n_estimators=2, random_state=3).fit(columns[:20][known], labels[:20][known])
    said = theirs.predict(columns) if kind == "regression" else theirs.predict_proba(columns)[:, 1]
    assert np.allclose(found[:, 0], said, atol=1e-4)
    assert found.std() > 0


def test_what_other_weights_predicted_is_not_taken_for_theirs(weights: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["smiles,y", *(f"{'C' * n}O,{n}.5" for n in range(1, 30))]) + "\n")
    inputs = ModelInputs(read(table, targets=["y"]), None, tmp_path / "inputs")
    kept = CachedPredictions(tmp_path / "kept", TABPFN, inputs)
    parts = split(inputs.dataset, "random", seed=0)
    first, again = (kept.predict(parts, 0, {"n_estimators": 1}).values for _ in range(2))
    write_tabpfn(weights, seed=1)
    other = kept.predict(parts, 0, {"n_estimators": 1}).values
    assert np.array_equal(first, again) and not np.allclose(first, other)


class Program:
    """Whoever unpickles it runs a program."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.file,)


def test_weights_that_are_damaged_or_a_program_are_refused(weights: Path, tmp_path: Path) -> None:
    (file,) = weights.glob("*regressor*")
    file.write_bytes(file.read_bytes()[:100])
    examples = Examples(np.zeros((8, FINGERPRINT_BITS + 4), dtype=np.float32), np.ones((8, 1), dtype=np.float32))
    with pytest.raises(UsageError, match=f"TabPFN's weights in {file} cannot be read: download them again"):
        TABPFN.fit(examples, examples, kind="regression")
    file.unlink()
    torch.save({"state_dict": Program(tmp_path / "ran")}, file.with_suffix(".ckpt"))
    with pytest.raises(UsageError, match="cannot be read"):
        TABPFN.fit(examples, examples, kind="regression")
    assert not (tmp_path / "ran").exists()


def test_who_lacks_the_package_or_the_weights_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs the package tabpfn: install it by pip install 'gallon\[tabular\]'"):
        check_installed("tabpfn")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    with pytest.raises(UsageError, match=rf"regressor none is named.*name the folder by the environment.*{FOLDER}"):
        check_installed("tabpfn")
    for name in ("tabpfn-v2-regressor.ckpt", "tabpfn-v2-classifier.ckpt", "tabpfn-v3-classifier.safetensors"):
        (tmp_path / name).touch()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(UsageError, match=f"of classifier there are 2 such files in {tmp_path}"):
        check_installed("tabpfn")
    (tmp_path / "tabpfn-v2-classifier.ckpt").unlink()
    check_installed("tabpfn")
