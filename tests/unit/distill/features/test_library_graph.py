"""A library as a graph, and which of its molecules are telling."""

from __future__ import annotations

import tracemalloc

import networkx
import numpy as np
import pytest
from rdkit import Chem
from sklearn.cluster import MiniBatchKMeans

from distill.features.library_graph import (
    NODE_CHOICES,
    LibraryGraph,
    centrality,
    centrality_in_cluster,
    degree,
    most_telling,
    pagerank,
)
from distill.features.neighbours import fingerprints_of, packed
from teacher.tiny import library
from tests.support.molecules import tanimoto

MOLECULES = 80


@pytest.fixture(scope="module")
def smiles() -> list[str]:
    return [one for one in library.read(None)[: 2 * MOLECULES] if Chem.MolFromSmiles(one)][:MOLECULES]


@pytest.fixture(scope="module")
def fingerprints(smiles: list[str]) -> np.ndarray:
    return packed(fingerprints_of([Chem.MolFromSmiles(one) for one in smiles]))


@pytest.fixture(scope="module")
def graph(fingerprints: np.ndarray) -> LibraryGraph:
    return LibraryGraph.of(fingerprints, np.arange(MOLECULES), k=4)


def undirected(graph: LibraryGraph) -> networkx.Graph:
    found = networkx.Graph()
    found.add_nodes_from(range(len(graph.neighbours)))
    found.add_edges_from((row, int(to)) for row, near in enumerate(graph.neighbours) for to in near if to >= 0)
    return found


def test_edges_lead_to_the_most_similar_molecules_of_the_library_and_never_to_itself(smiles: list[str]) -> None:
    prints = fingerprints_of([Chem.MolFromSmiles(one) for one in smiles])
    members = np.arange(0, MOLECULES, 2)
    graph = LibraryGraph.of(packed(prints), members, k=3)
    for row in (0, 1, 30, 31):
        others = [int(one) for one in members if one != row]
        alike = tanimoto(prints[row], [prints[one] for one in others])
        assert graph.similarity[row] == pytest.approx(np.sort(alike)[::-1][:3], abs=1e-6)
        assert set(graph.neighbours[row]) <= {*others, -1}


def test_degree_and_pagerank_are_those_of_networkx(graph: LibraryGraph) -> None:
    reference = undirected(graph)
    assert degree(graph.adjacency()).tolist() == [reference.degree(row) for row in range(MOLECULES)]
    ranks = networkx.pagerank(reference, tol=1e-12, max_iter=1000)
    assert pagerank(graph.adjacency()) == pytest.approx([ranks[row] for row in range(MOLECULES)], abs=1e-7)


def test_a_molecule_that_is_like_no_other_has_no_edge_and_a_rank_all_the_same() -> None:
    lonely = packed(fingerprints_of([Chem.MolFromSmiles(one) for one in ("CCO", "CCCO", "CCCCO", "[Na+]")]))
    graph = LibraryGraph.of(lonely, np.arange(4), k=2)
    assert graph.neighbours[3].tolist() == [-1, -1]
    ranks = networkx.pagerank(undirected(graph), tol=1e-12, max_iter=1000)
    assert pagerank(graph.adjacency()) == pytest.approx([ranks[row] for row in range(4)], abs=1e-7)


def test_the_distance_to_a_centre_takes_memory_with_the_points_and_not_with_their_square() -> None:
    points = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
    tracemalloc.start()
    near = centrality(points, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * points.nbytes
    centres = MiniBatchKMeans(400, random_state=0, n_init=1, batch_size=1024).fit(points)
    assert near == pytest.approx(-centres.transform(points).min(axis=1), rel=1e-5)


def test_the_most_telling_come_first_and_never_more_than_asked_for(smiles: list[str], fingerprints: np.ndarray) -> None:
    scores = {
        "degree": degree(LibraryGraph.of(fingerprints, np.arange(MOLECULES)).adjacency()),
        "pagerank": pagerank(LibraryGraph.of(fingerprints, np.arange(MOLECULES)).adjacency()),
        "length": np.array([len(one) for one in smiles]),
        "cluster": centrality_in_cluster(fingerprints, 0),
    }
    for by in NODE_CHOICES[1:]:
        rows = most_telling(by, 10, fingerprints=fingerprints, smiles=smiles, seed=0)
        assert len(set(rows.tolist())) == 10
        if by in scores:
            assert scores[by][rows] == pytest.approx(np.sort(scores[by])[::-1][:10])
    one, other = (most_telling("random", 10, fingerprints=fingerprints, smiles=smiles, seed=seed) for seed in (0, 1))
    assert set(one.tolist()) != set(other.tolist())
