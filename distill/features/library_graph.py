"""A library as a graph, whose nodes are molecules and whose edges lead to the most similar ones, and its telling nodes.

After E-LLaGNN (arXiv 2407.14996), where an LLM enhances only some nodes of a graph: those with the most neighbours, the
greatest PageRank, the least distance to the centre of their cluster, or the longest text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from distill.features.neighbours import Neighbours
from teacher.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

NodeChoice = Literal["coverage", "degree", "pagerank", "cluster", "length", "random"]
NODE_CHOICES: tuple[NodeChoice, ...] = get_args(NodeChoice)
NEIGHBOURS = 8  # of a molecule
DAMPING = 0.85  # of PageRank (Brin and Page, 1998)
LEAST_CHANGE = 1e-10  # of a PageRank, over which it is not settled
CLUSTER_SIZE = 50  # molecules, on average
POINTS_AT_A_TIME = 256


def node_choice(name: str) -> NodeChoice:
    """Return a way to choose by its name.

    Raises:
        UsageError: there is none of this name.
    """
    for known in NODE_CHOICES:
        if known == name:
            return known
    raise UsageError(f"Nothing is chosen by '{name}': choose one of {', '.join(NODE_CHOICES)}.")


@dataclass(frozen=True, slots=True, eq=False)
class LibraryGraph:
    """Of each molecule the most similar ones of a library.

    Attributes:
        neighbours: int64, (molecules, k): rows of the library, the most similar first; -1 where there are no more.
        similarity: float32, (molecules, k): Tanimoto's; 0 where there is none.
    """

    neighbours: NDArray[np.int64]
    similarity: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        fingerprints: NDArray[np.uint8],
        library: NDArray[np.int64],
        k: int = NEIGHBOURS,
        show: Callable[[int], None] | None = None,
    ) -> LibraryGraph:
        """Connect each molecule with the k most similar ones of a library, itself left out.

        Takes time with molecules times library: 0.2 ms for each molecule against 4,000.

        Args:
            fingerprints: of all molecules, as `distill.features.neighbours.packed` makes them.
            library: rows of those that can be neighbours.
            k: how many.
            show: called with the number of molecules that are connected.
        """
        place = {int(row): number for number, row in enumerate(library)}
        itself = [place.get(row, -1) for row in range(len(fingerprints))]
        found = cls.towards(Neighbours.of(fingerprints[library]), fingerprints, itself, k, show)
        rows = np.append(library, -1)  # so that nobody stays nobody
        return cls(rows[found.neighbours], found.similarity)

    @classmethod
    def towards(
        cls,
        library: Neighbours,
        fingerprints: NDArray[np.uint8],
        itself: Sequence[int],
        k: int,
        show: Callable[[int], None] | None = None,
    ) -> LibraryGraph:
        """Connect molecules with the k most similar ones of a library.

        Args:
            library: where they are looked for, and numbered as there.
            fingerprints: of the molecules.
            itself: of each the place in the library, where it is none of its neighbours; -1 where it is not in it.
            k: how many.
            show: called with the number of molecules that are connected.
        """
        neighbours = np.full((len(fingerprints), k), -1, dtype=np.int64)
        similarity = np.zeros((len(fingerprints), k), dtype=np.float32)
        for row, fingerprint in enumerate(fingerprints):
            nearest, alike = library.most_similar(fingerprint, k, itself[row])
            found = int((alike > 0).sum())
            neighbours[row, :found] = nearest[:found]
            similarity[row, :found] = alike[:found]
            if show:
                show(row + 1)
        return cls(neighbours, similarity)

    def adjacency(self) -> csr_matrix:
        """Return (molecules, molecules), 1 where one of two is a neighbour of the other, whichever of them."""
        from scipy.sparse import coo_matrix

        size, k = self.neighbours.shape
        leaves, enters = np.repeat(np.arange(size), k), self.neighbours.ravel()
        there = enters >= 0
        directed = coo_matrix((np.ones(int(there.sum())), (leaves[there], enters[there])), shape=(size, size)).tocsr()
        either: csr_matrix = directed.maximum(directed.T).tocsr()
        return either


def degree(adjacency: csr_matrix) -> NDArray[np.float64]:
    """Return how many edges each node of a graph without directions has: (nodes,)."""
    return np.asarray(adjacency.sum(axis=1), dtype=np.float64).ravel()


def pagerank(adjacency: csr_matrix) -> NDArray[np.float64]:
    """Return each node's PageRank in a graph without directions, of sum 1: (nodes,)."""
    size = adjacency.shape[0]
    edges = np.asarray(adjacency.sum(axis=1), dtype=np.float64).ravel()
    rank = np.full(size, 1 / size)
    change = np.inf
    while change > LEAST_CHANGE:
        sent = np.where(edges > 0, rank / np.maximum(edges, 1), 0.0)
        lost = rank[edges == 0].sum()  # of those without an edge, which is shared by all
        new = (1 - DAMPING) / size + DAMPING * (adjacency.T @ sent + lost / size)
        change, rank = float(np.abs(new - rank).sum()), new
    return rank


def centrality_in_cluster(fingerprints: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """Return how near each molecule is to the centre of its cluster of fingerprints, see `centrality`: (molecules,)."""
    return centrality(np.unpackbits(fingerprints, axis=1).astype(np.float32), seed)


def centrality(points: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Return how near each point is to the centre of its cluster, less its distance there: (points,).

    Clusters are k-means', `CLUSTER_SIZE` points in each on average.
    """
    from sklearn.cluster import MiniBatchKMeans

    clusters = max(1, len(points) // CLUSTER_SIZE)
    found = MiniBatchKMeans(clusters, random_state=seed, n_init=1, batch_size=1024).fit(points)
    distances = np.empty(len(points), dtype=np.float32)
    for start in range(0, len(points), POINTS_AT_A_TIME):
        rows = slice(start, start + POINTS_AT_A_TIME)
        away = points[rows].astype(np.float64) - found.cluster_centers_[found.labels_[rows]]
        distances[rows] = np.sqrt((away**2).sum(axis=1))
    return -distances.astype(np.float64)


def first_of(score: NDArray[np.float64], number: int, seed: int) -> NDArray[np.int64]:
    """Return the places of the greatest scores, the greatest first; equal ones in a random order."""
    shuffled = np.random.default_rng(seed).permutation(len(score))
    order: NDArray[np.int64] = shuffled[np.argsort(-score[shuffled], kind="stable")]
    return order[:number]


def most_telling(
    by: NodeChoice,
    number: int,
    *,
    fingerprints: NDArray[np.uint8],
    smiles: Sequence[str],
    seed: int,
    show: Callable[[int], None] | None = None,
) -> NDArray[np.int64]:
    """Return the rows of molecules that an LLM is to describe, the most telling first; equal ones at random.

    Args:
        by: what makes one telling; all but "coverage" (`distill.data.subset`).
        number: how many.
        fingerprints: of N molecules, as `distill.features.neighbours.packed` makes them.
        smiles: theirs; before there is another text, "length" is that of these.
        seed: of the draws.
        show: called with the number of molecules that are connected.
    """
    size = len(smiles)
    if by == "random":
        score = np.zeros(size)
    elif by == "length":
        score = np.array([len(one) for one in smiles], dtype=np.float64)
    elif by == "cluster":
        score = centrality_in_cluster(fingerprints, seed)
    else:
        adjacency = LibraryGraph.of(fingerprints, np.arange(size), show=show).adjacency()
        score = degree(adjacency) if by == "degree" else pagerank(adjacency)
    return first_of(score, number, seed)
