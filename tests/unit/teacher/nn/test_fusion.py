"""A network that reads graph and text together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem
from torch import nn

from distill.learn.recipes import recipe
from teacher.nn.graphs import Graphs, Paired
from teacher.nn.inputs import Matrix
from teacher.tiny import library

FEATURES = 12
MOLECULES = 40


@pytest.fixture(scope="module")
def paired() -> Paired:
    """Molecules of NCI and a single atom, each with a vector."""
    read = map(Chem.MolFromSmiles, library.read(None)[: 2 * MOLECULES])
    mols = [mol for mol in read if mol][: MOLECULES - 1]
    vectors = np.random.default_rng(0).normal(size=(MOLECULES, FEATURES)).astype(np.float32)
    return Paired(Graphs.of([*mols, Chem.MolFromSmiles("[Na+]")]), Matrix(vectors))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    known = recipe("mmf")
    return known.build(2, features=FEATURES, **known.settings).eval()


def predict(network: nn.Module, inputs: Paired, rows: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        predicted: torch.Tensor = network(inputs.batch(np.array(rows)))[0]
    return predicted


def test_a_molecule_is_predicted_the_same_in_any_company(network: nn.Module, paired: Paired) -> None:
    together = predict(network, paired, list(range(MOLECULES)))
    assert together.shape == (MOLECULES, 2) and together.isfinite().all()
    for row in (7, MOLECULES - 1):
        assert torch.allclose(predict(network, paired, [row])[0], together[row], atol=1e-5)


def test_taken_rows_are_read_as_before(network: nn.Module, paired: Paired) -> None:
    some = paired.take(np.array([5, 3]))
    assert len(some) == 2
    assert torch.allclose(predict(network, some, [1, 0]), predict(network, paired, [3, 5]), atol=1e-6)


def test_text_and_graph_both_matter(network: nn.Module, paired: Paired) -> None:
    swapped = np.array([1, 0])
    one, other = (predict(network, paired, [row]) for row in (0, 1))
    texts_swapped = Paired(paired.graphs.take(np.arange(2)), paired.texts.take(swapped))
    mixed = predict(network, texts_swapped, [0])
    assert not torch.allclose(mixed, one, atol=1e-4) and not torch.allclose(mixed, other, atol=1e-4)
