"""A student asked with numpy says what its network says in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.learn.network import Network
from distill.models.model_store import PREFIX
from distill.screen.perceptron import Perceptron
from teacher.nn.inputs import Matrix
from teacher.nn.mlp import MLP

FEATURES, TARGETS = 40, 2
SHAPES = [(1, 16), (2, 64), (3, 8)]


def build(layers: int, width: int) -> MLP:
    return MLP(TARGETS, features=FEATURES, width=width, layers=layers, dropout=0.3)


def saved(file: Path, layers: int, width: int) -> Path:
    """Save a network whose normalisations have seen something."""
    torch.manual_seed(layers)
    network = build(layers, width).train()
    for _ in range(20):
        network(torch.randn(32, FEATURES) * 3 + 1)
    weights = {f"{PREFIX}{name}": value for name, value in network.state_dict().items()}
    save_file({**weights, "means": torch.tensor([2.0, 0.0]), "deviations": torch.tensor([1.5, 1.0])}, file)
    return file


@pytest.mark.parametrize(("layers", "width"), SHAPES)
def test_a_perceptron_says_what_its_network_says(tmp_path: Path, layers: int, width: int) -> None:
    file = saved(tmp_path / "weights.safetensors", layers, width)
    vectors = np.random.default_rng(0).normal(size=(1_100, FEATURES)).astype(np.float32)
    expected, _ = Network.load(file, lambda: build(layers, width)).predict(Matrix(vectors), np.arange(len(vectors)))
    assert np.allclose(Perceptron.load(file, FEATURES, TARGETS).predict(vectors), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("damage", ["features", "targets", "layer", "head"])
def test_weights_of_another_network_are_refused(tmp_path: Path, damage: str) -> None:
    file = saved(tmp_path / "weights.safetensors", 2, 16)
    weights = load_file(file)
    if damage == "layer":
        weights[f"{PREFIX}body.4.weight"] = weights[f"{PREFIX}body.4.weight"][:, :-1].contiguous()
    elif damage == "head":
        del weights[f"{PREFIX}head.bias"]
    save_file(weights, file)
    asked = {"features": FEATURES + (damage == "features"), "targets": TARGETS + (damage == "targets")}
    with pytest.raises((KeyError, ValueError)):
        Perceptron.load(file, **asked)
