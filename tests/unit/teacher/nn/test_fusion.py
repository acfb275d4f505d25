"""A network that reads graph and text together, and what the LLM itself predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

from distill.learn.recipes import MMF_WITHOUT, recipe
from teacher.nn.fusion import GUESS, MMF
from teacher.nn.graphs import Graphs, Paired
from teacher.nn.inputs import Matrix, TokenStates, starts
from teacher.tiny import library

FEATURES = 12
MOLECULES = 40
SILENT = 5  # of this one the LLM predicts nothing


@pytest.fixture(scope="module")
def paired() -> Paired:
    """Molecules of NCI and a single atom, each with a text of one to six tokens and what the LLM predicts."""
    read = map(Chem.MolFromSmiles, library.read(None)[: 2 * MOLECULES])
    mols = [mol for mol in read if mol][: MOLECULES - 1]
    random = np.random.default_rng(0)
    lengths = random.integers(1, 7, MOLECULES)
    states = random.normal(size=(lengths.sum(), FEATURES)).astype(np.float16)
    guesses = random.normal(size=(MOLECULES, len(GUESS))).astype(np.float32)
    guesses[:, -1] = 1
    guesses[SILENT] = 0
    graphs = Graphs.of([*mols, Chem.MolFromSmiles("[Na+]")])
    return Paired(graphs, TokenStates(states, starts(lengths)), Matrix(guesses))


def build(name: str = "mmf", **settings: Any) -> MMF:
    torch.manual_seed(0)
    known = recipe(name)
    network = known.build(2, features=FEATURES, **{**known.settings, **settings}).eval()
    assert isinstance(network, MMF)
    return network


def predict(network: MMF, inputs: Paired, rows: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        predicted: torch.Tensor = network(inputs.batch(np.array(rows)))[0]
    return predicted


def with_other_text(inputs: Paired, row: int, token: int) -> Paired:
    """Return the same, but for one token of a molecule's text."""
    states = inputs.texts.states.copy()
    states[inputs.texts.starts[row] + token] *= -1
    return Paired(inputs.graphs, TokenStates(states, inputs.texts.starts), inputs.guesses)


@pytest.mark.parametrize("name", MMF_WITHOUT)
def test_a_molecule_is_predicted_the_same_in_any_company_whatever_is_switched_off(name: str, paired: Paired) -> None:
    network = build(name)
    together = predict(network, paired, list(range(MOLECULES)))
    assert together.shape == (MOLECULES, 2) and together.isfinite().all()
    for row in (7, MOLECULES - 1):
        assert torch.allclose(predict(network, paired, [row])[0], together[row], atol=1e-5)


def test_taken_rows_are_read_as_before(paired: Paired) -> None:
    network, some = build("mmf-few-shot"), paired.take(np.array([5, 3]))
    assert len(some) == 2
    assert torch.allclose(predict(network, some, [1, 0]), predict(network, paired, [3, 5]), atol=1e-6)


def test_each_token_of_a_text_matters_and_so_does_the_graph(paired: Paired) -> None:
    network = build()
    row = int(np.argmax(np.diff(paired.texts.starts)))
    before = predict(network, paired, [row])
    for token in (0, int(np.diff(paired.texts.starts)[row]) - 1):
        assert not torch.allclose(predict(network, with_other_text(paired, row, token), [row]), before, atol=1e-4)
    other = Paired(paired.graphs.take(np.arange(MOLECULES)[::-1]), paired.texts, paired.guesses)
    assert not torch.allclose(predict(network, other, [row]), before, atol=1e-4)


def hears(network: MMF, paired: Paired, row: int) -> tuple[bool, bool]:
    """Tell whether what is made of the text depends on the atoms, and what is made of the atoms on the text."""
    width = network.head.in_features
    with torch.inference_mode():
        before = network._read(paired.batch(np.array([row])))[0]
        other_text = network._read(with_other_text(paired, row, 0).batch(np.array([row])))[0]
        graphs = paired.graphs.take(np.arange(MOLECULES)[::-1])
        other_graph = network._read(Paired(graphs, paired.texts).batch(np.array([row])))[0]
    text_hears = not torch.allclose(other_graph[width:], before[width:], atol=1e-4)
    return text_hears, not torch.allclose(other_text[:width], before[:width], atol=1e-4)


@pytest.mark.parametrize(
    ("attention", "expected"),
    [("both", (True, True)), ("text", (True, False)), ("atoms", (False, True)), ("none", (False, False))],
)
def test_text_and_atoms_ask_each_other_as_far_as_they_may(
    attention: str, expected: tuple[bool, bool], paired: Paired
) -> None:
    assert hears(build(attention=attention), paired, 2) == expected


def test_without_tokens_a_text_is_the_mean_of_its_tokens(paired: Paired) -> None:
    network = build("mmf-no-tokens")
    row = int(np.argmax(np.diff(paired.texts.starts)))
    first, last = paired.texts.starts[row : row + 2]
    states = paired.texts.states.astype(np.float32)
    states[first:last] = states[first:last].mean(axis=0)
    level = Paired(paired.graphs, TokenStates(states, paired.texts.starts))
    assert torch.allclose(predict(network, paired, [row]), predict(network, level, [row]), atol=1e-3)


def test_with_one_polynomial_no_atom_hears_of_another(paired: Paired) -> None:
    chains = [Chem.MolFromSmiles(smiles) for smiles in ("CCCO", "CC(C)O")]
    same_text = TokenStates(np.ones((2, FEATURES), np.float16), np.arange(3))
    smallest = Graphs.of(chains)
    smallest.atoms[:] = smallest.atoms[[0] * len(smallest.atoms)]  # all atoms alike: only bonds tell them apart
    inputs = Paired(smallest, same_text)
    blind, seeing = predict(build("mmf-no-messages"), inputs, [0, 1]), predict(build(), inputs, [0, 1])
    assert torch.allclose(blind[0], blind[1], atol=1e-6) and not torch.allclose(seeing[0], seeing[1], atol=1e-5)


def test_the_prediction_is_that_of_the_experts_by_their_shares(paired: Paired) -> None:
    network = build("mmf-few-shot")
    batch = paired.batch(np.arange(MOLECULES))
    with torch.inference_mode():
        shares, opinions = network._mixture(batch)
        expected = (shares[..., None] * network.head(opinions)).sum(1)
        assert torch.allclose(network(batch)[0], expected, atol=1e-5)
    assert len(network.names) == shares.shape[1] == 5 and network.names[-1] == "few-shot"
    assert torch.allclose(shares.sum(1), torch.ones(MOLECULES))
    assert shares[SILENT, -1] == 0 and (np.delete(shares[:, -1].numpy(), SILENT) > 0).all()


def test_what_the_llm_predicts_counts_only_where_it_is_read(paired: Paired) -> None:
    louder = Matrix(paired.guesses.values + np.array([3.0, 0, 0], dtype=np.float32))  # type: ignore[union-attr]
    other = Paired(paired.graphs, paired.texts, louder)
    rows = [0, SILENT]
    plain, few_shot = build(), build("mmf-few-shot")
    assert torch.allclose(predict(plain, other, rows), predict(plain, paired, rows))
    assert not torch.allclose(predict(few_shot, other, [0]), predict(few_shot, paired, [0]), atol=1e-4)
    with pytest.raises(ValueError, match="what the LLM predicts"):
        few_shot(Paired(paired.graphs, paired.texts).batch(np.array([0])))
