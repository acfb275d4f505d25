"""MuGSI's terms against cases that are worked out by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from rdkit import Chem
from torch import Tensor

from teacher.nn.graphs import Graphs
from teacher.nn.mugsi import (
    STEPS,
    WALKS,
    StructuredGraphs,
    communities,
    communities_term,
    community_similarities,
    graph_term,
    known_pairs,
    random_walks,
    walk_log_odds,
    walks_term,
)
from teacher.nn.registry import ARCHITECTURES

TRIANGLES = "C1CC1C2CC2C3CC3"  # three rings of three atoms in a row
SMILES = (TRIANGLES, "[Na+].[Cl-]", "CCO")
NAN = float("nan")


@pytest.fixture(scope="module")
def molecules() -> StructuredGraphs:
    mols = [Chem.MolFromSmiles(smiles) for smiles in SMILES]
    graphs = Graphs.of(mols)
    return StructuredGraphs(graphs, communities(mols), random_walks(graphs))


def test_communities_are_the_parts_that_hang_together(molecules: StructuredGraphs) -> None:
    assert molecules.communities.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, *(0, 1), *(0, 0, 0)]
    assert molecules.pairs == 3
    batch = molecules.batch(np.array([1, 0, 2]))
    known = known_pairs(batch, 3)
    assert known.tolist() == [[False] * 3, [True] * 3, [False] * 3]  # fewer than three communities are left out


def test_walks_follow_bonds_within_their_molecule(molecules: StructuredGraphs) -> None:
    batch = molecules.batch(np.array([1, 0, 2]))
    assert batch.walks.shape == (3, WALKS, STEPS + 1)
    bonds = {tuple(bond) for bond in batch.graphs.edge_index.T.tolist()}
    for walk in batch.walks[1:].flatten(0, 1).tolist():
        assert all(step in bonds for step in pairwise(walk))
    assert set(batch.walks[1, :, 0].tolist()) > set(range(2, 5))  # they begin anywhere
    ions = batch.walks[0]
    assert torch.equal(ions, ions[:, :1].expand_as(ions)) and set(ions[:, 0].tolist()) == {0, 1}


def test_some_rows_are_the_same_molecules_however_they_are_taken(molecules: StructuredGraphs) -> None:
    rows = np.array([2, 0])
    one, other = molecules.batch(rows), molecules.take(rows).batch(np.arange(2))
    assert torch.equal(one.communities, other.communities) and torch.equal(one.walks, other.walks)
    assert torch.equal(one.graphs.edge_index, other.graphs.edge_index)


def test_communities_are_compared_by_the_cosine_of_what_their_atoms_say_together(molecules: StructuredGraphs) -> None:
    batch = molecules.batch(np.array([0]))
    of_communities = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    atoms = of_communities[batch.communities]
    atoms[0] += torch.tensor([0.5, -1.0])
    atoms[1] += torch.tensor([-0.5, 1.0])  # which cancel each other
    half = math.sqrt(0.5)
    assert community_similarities(atoms, batch, 3)[0].tolist() == pytest.approx([0.0, half, half])
    student = torch.tensor([[0.5, half, 0.0], [9.0, 9.0, 9.0]])
    teacher = torch.tensor([[0.0, half, half], [NAN, NAN, NAN]])
    total, count = communities_term(student, teacher)
    assert (float(total), int(count)) == (pytest.approx(0.25 + 0.5), 2)


def test_an_atom_of_a_walk_is_as_likely_as_it_is_like_the_first(molecules: StructuredGraphs) -> None:
    batch = molecules.batch(np.array([2]))
    atoms = torch.tensor([[1.0, 0.0], [math.log(3), 5.0], [0.0, 7.0]])
    batch.walks[0, 0, :3] = torch.tensor([0, 1, 2])
    odds = walk_log_odds(atoms, batch).exp().reshape(WALKS, STEPS)
    assert float(odds[0, 0] / odds[0, 1]) == pytest.approx(3.0)
    assert odds.sum(1).tolist() == pytest.approx([1.0] * WALKS)


def test_walks_are_compared_by_the_divergence_of_the_student_from_the_teacher() -> None:
    def walks(*odds: float) -> Tensor:
        return torch.tensor([odds]).log()

    teacher, student = walks(*[0.125] * STEPS), walks(0.5, *[0.5 / 7] * 7)
    total, count = walks_term(student, teacher)
    assert int(count) == 1
    assert float(total) == pytest.approx(0.125 * math.log(0.125 / 0.5) + 7 * 0.125 * math.log(0.125 / (0.5 / 7)))
    assert float(walks_term(teacher, teacher)[0]) == 0
    assert float(walks_term(student, walks(*[NAN] * STEPS))[1]) == 0


def test_representations_are_compared_by_their_direction() -> None:
    student = torch.tensor([[3.0, 4.0], [2.0, 0.0], [1.0, 1.0]])
    teacher = torch.tensor([[0.0, 10.0], [7.0, 0.0], [NAN, NAN]])
    total, count = graph_term(student, teacher)
    assert (float(total), int(count)) == (pytest.approx(0.6**2 + 0.2**2), 4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_a_network_says_of_a_molecule_is_what_it_says_of_its_atoms_together(
    name: str, molecules: StructuredGraphs
) -> None:
    known = ARCHITECTURES[name]
    network = known.build(1, **known.settings).eval()
    graphs = molecules.batch(np.array([0])).graphs
    _, representation = network(graphs)
    together = network.atoms(graphs).sum(0)
    assert torch.allclose(torch.cosine_similarity(representation[0], together, dim=0), torch.tensor(1.0))
