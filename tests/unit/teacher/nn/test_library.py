"""A graph network over a library of molecules, some of which are described."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from teacher.nn.library import AGGREGATIONS, KEPT, LibraryBatch, LibraryGNN, LibraryInputs, gradient_norms

FEATURES, TEXT, MOLECULES, LIBRARY, K = 6, 4, 12, 9, 3


@pytest.fixture(scope="module")
def inputs() -> LibraryInputs:
    """Twelve molecules, the first nine of which are the library; six of these are described."""
    random = np.random.default_rng(0)
    neighbours = np.stack([random.permutation(np.delete(np.arange(LIBRARY), row % LIBRARY))[:K] for row in range(12)])
    neighbours[5, -1] = -1
    told = np.arange(MOLECULES) < 6
    texts = np.where(told[:, None], random.normal(size=(MOLECULES, TEXT)), 0).astype(np.float32)
    return LibraryInputs(
        features=random.normal(size=(MOLECULES, FEATURES)).astype(np.float32),
        texts=texts,
        told=told,
        neighbours=neighbours,
        similarity=random.uniform(0.1, 1, (MOLECULES, K)).astype(np.float32),
        itself=np.arange(MOLECULES),
        depth=2,
        rows=np.arange(MOLECULES),
    )


def build(**settings: Any) -> LibraryGNN:
    torch.manual_seed(0)
    sizes = {"features": FEATURES, "text_features": TEXT, "width": 8, "layers": 2, "dropout": 0.0}
    return LibraryGNN(1, **{**sizes, **settings}).eval()


def predict(network: LibraryGNN, inputs: LibraryInputs, rows: list[int]) -> np.ndarray:
    with torch.inference_mode():
        said: np.ndarray = network(inputs.batch(np.array(rows)))[0].numpy()
    return said


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_molecule_is_predicted_the_same_in_any_company_and_new_ones_as_known_ones(
    aggregation: str, inputs: LibraryInputs
) -> None:
    network = build(aggregation=aggregation)
    together = predict(network, inputs, list(range(MOLECULES)))
    assert np.isfinite(together).all()
    assert np.allclose(predict(network, inputs, [11, 5]), together[[11, 5]], atol=1e-5)
    assert np.allclose(predict(network, inputs.take(np.array([11, 5])), [0, 1]), together[[11, 5]], atol=1e-5)
    library = replace(
        inputs,
        **{name: getattr(inputs, name)[:LIBRARY] for name in (*KEPT, "itself")},
    )
    again = (inputs.features, inputs.neighbours, inputs.similarity)  # those of the library, too, as if they were new
    new = library.with_new(*again, np.where(np.arange(MOLECULES) < LIBRARY, np.arange(MOLECULES), -1))
    assert len(new) == MOLECULES
    assert np.allclose(predict(network, new, list(range(MOLECULES))), together, atol=1e-5)


def test_a_library_is_kept_by_itself(inputs: LibraryInputs) -> None:
    backwards = np.arange(LIBRARY)[::-1]
    kept = LibraryInputs.from_arrays(inputs.arrays(backwards), inputs.depth)
    rows = list(range(LIBRARY))
    assert np.allclose(predict(build(), kept, rows), predict(build(), inputs, rows)[backwards], atol=1e-5)


def reached(inputs: LibraryInputs, row: int, depth: int) -> set[int]:
    """Return the molecules that are at most so many edges away, the molecule itself left out."""
    found: set[int] = set()
    level = {row}
    for _ in range(depth):
        level = {int(near) for one in level for near in inputs.neighbours[one] if near not in (-1, row)}
        found |= level
    return found


@pytest.mark.parametrize("depth", [1, 2])
def test_a_molecule_hears_the_texts_of_those_in_reach_and_never_its_own(depth: int, inputs: LibraryInputs) -> None:
    network, shallow = build(layers=depth), replace(inputs, depth=depth)
    for row in (0, 3, 10):
        before = predict(network, shallow, [row])
        for other in range(6):
            texts = inputs.texts.copy()
            texts[other] *= -1
            heard = not np.allclose(predict(network, replace(shallow, texts=texts), [row]), before, atol=1e-6)
            assert heard == (other in reached(inputs, row, depth))


def test_without_texts_nothing_that_is_written_is_read(inputs: LibraryInputs) -> None:
    silent = replace(inputs, texts=np.zeros_like(inputs.texts), told=np.zeros_like(inputs.told))
    rows = list(range(MOLECULES))
    network = build(texts=False)
    assert np.allclose(predict(network, inputs, rows), predict(network, silent, rows))
    assert not np.allclose(predict(build(), inputs, rows), predict(build(), silent, rows), atol=1e-4)


def test_a_layer_is_what_its_formula_says(inputs: LibraryInputs) -> None:
    """GraphSAGE: h + relu(norm(W1 h + W2 mean of the neighbours)); GCN: h + relu(norm(W mean of all))."""
    own, others, weights = torch.randn(1, 8), torch.randn(1, 2, 8), torch.tensor([[1.0, 3.0]])
    mean = (others[:, 0] + 3 * others[:, 1]) / 4
    sage, gcn = build(aggregation="sage"), build(aggregation="gcn")
    with torch.inference_mode():
        expected = own + torch.relu(sage.norms[0](sage.itself[0](own) + sage.others[0](mean)))
        assert torch.allclose(sage._heard(0, own, others, weights), expected, atol=1e-6)
        expected = own + torch.relu(gcn.norms[0](gcn.itself[0]((own + 4 * mean) / 5)))
        assert torch.allclose(gcn._heard(0, own, others, weights), expected, atol=1e-6)


def test_the_gradient_of_each_layer_is_what_a_small_step_of_its_weights_changes(inputs: LibraryInputs) -> None:
    network = build(aggregation="gcn").double()
    batch = inputs.batch(np.arange(MOLECULES))
    exact = LibraryBatch(
        *(each.double() for each in (batch.own, batch.nodes, batch.texts, batch.told)),
        batch.places,
        tuple(each.double() for each in batch.weights),
    )
    norms = gradient_norms(network, exact)
    assert len(norms) == 2
    for number, norm in enumerate(norms):
        weight = network.itself[number].weight
        gradient = torch.autograd.grad(network(exact)[0].mean(), weight)[0]
        with torch.no_grad():
            before = network(exact)[0].mean()
            weight += 1e-6 * gradient / gradient.norm()
            assert float((network(exact)[0].mean() - before) / 1e-6) == pytest.approx(norm, rel=1e-3)
            weight -= 1e-6 * gradient / gradient.norm()
