"""MuGSI's terms: what of a teacher's atoms a student that hears nothing along bonds can still learn.

Yao et al., WWW 2024 (arXiv 2406.19832), section on the multi-granularity distillation loss, as their code computes it
(github.com/tianyao-aka/MuGSI, `model/training_utils.py` and `PL_UniversalModel_OGBMOL.py`), beside soft labels:

- *graph*: squared difference of the unit vectors of both representations, the student's after a linear map.
- *communities*: a molecule's atoms are divided by Louvain's method, the atoms of each community pooled; squared
  difference of both networks' cosine similarities of all pairs of communities (half of the Frobenius norm squared).
  Molecules of fewer than three are left out.
- *walks*: along random walks over bonds, p(b | a) = softmax over the walk's atoms b of ⟨h_a, h_b⟩, where a is its first
  atom; KL divergence of the student's from the teacher's.

A vector's length does not matter to the first two, so atoms may be summed where the authors average. Walks are drawn
once, where the authors draw them anew in each epoch: 20 of a molecule begin at most of its atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
import torch
from rdkit.Chem import Mol
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from teacher.nn.gnn.sums import sums
from teacher.nn.graphs import GraphBatch, Graphs
from teacher.nn.inputs import starts, stretches

WALKS, STEPS = 20, 8  # of each molecule, as the authors' code for molecules has them
LEAST_COMMUNITIES = 3  # of which similarities are learnt


@dataclass(frozen=True, slots=True)
class StructureBatch:
    """Graphs of some molecules, and their parts.

    Attributes:
        graphs: the molecules.
        communities: int64, shape (atoms): the community of each atom, numbered within its molecule.
        walks: int64, shape (molecules, `WALKS`, `STEPS` + 1): the atoms of random walks, numbered in the batch.
    """

    graphs: GraphBatch
    communities: Tensor
    walks: Tensor

    def to(self, device: str) -> StructureBatch:
        """Return the same batch on a device."""
        return StructureBatch(self.graphs.to(device), self.communities.to(device), self.walks.to(device))


@dataclass(frozen=True)
class StructuredGraphs:
    """One graph for each molecule, and its parts.

    Attributes:
        graphs: the molecules.
        communities: int16, shape (all atoms); numbered within a molecule.
        walks: int32, shape (molecules, `WALKS`, `STEPS` + 1); atoms are numbered within their molecule.
    """

    graphs: Graphs
    communities: np.ndarray
    walks: np.ndarray

    def __len__(self) -> int:
        return len(self.graphs)

    @property
    def pairs(self) -> int:
        """How many pairs the communities of the molecule with the most of them make."""
        most = int(self.communities.max(initial=0)) + 1
        return most * (most - 1) // 2

    def take(self, rows: np.ndarray) -> StructuredGraphs:
        """Return the graphs and parts of some rows."""
        atoms, _ = stretches(self.graphs.atom_starts, rows)
        return StructuredGraphs(self.graphs.take(rows), self.communities[atoms], self.walks[rows])

    def batch(self, rows: np.ndarray) -> StructureBatch:
        """Return the graphs of some rows as one, with their parts."""
        atoms, counts = stretches(self.graphs.atom_starts, rows)
        walks = self.walks[rows] + starts(counts)[:-1, None, None]
        return StructureBatch(
            self.graphs.batch(rows),
            torch.from_numpy(self.communities[atoms].astype(np.int64)),
            torch.from_numpy(walks.astype(np.int64)),
        )


def communities(mols: Sequence[Mol]) -> np.ndarray:
    """Divide the atoms of molecules by Louvain's method (Blondel et al., J. Stat. Mech. 2008, P10008).

    Returns:
        int16, (all atoms): the community of each atom, numbered within its molecule in the order of their first atoms.
    """
    from networkx import Graph
    from networkx.algorithms.community import louvain_communities

    found: list[np.ndarray] = [np.empty(0, dtype=np.int16)]
    for mol in mols:
        graph = Graph()
        graph.add_nodes_from(range(mol.GetNumAtoms()))
        graph.add_edges_from((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds())
        of_atoms = np.empty(mol.GetNumAtoms(), dtype=np.int16)
        for number, atoms in enumerate(sorted(louvain_communities(graph, seed=0), key=min)):
            of_atoms[list(atoms)] = number
        found.append(of_atoms)
    return np.concatenate(found)


def random_walks(graphs: Graphs, seed: int = 0) -> np.ndarray:
    """Draw walks along bonds, which begin at any atom and may turn back; an atom without bonds stays where it is.

    Returns:
        int32, (molecules, `WALKS`, `STEPS` + 1): atoms, numbered within their molecule.
    """
    chance = np.random.default_rng(seed)
    firsts = graphs.atom_starts[:-1, None]
    leaves, enters = graphs.ends + np.repeat(graphs.atom_starts[:-1], np.diff(graphs.bond_starts))
    neighbours = np.append(enters[np.argsort(leaves, kind="stable")], 0)  # the last of none
    bonds = np.bincount(leaves, minlength=len(graphs.atoms))
    begins = starts(bonds)
    atoms = np.diff(graphs.atom_starts)[:, None]
    walk = [firsts + (chance.random((len(graphs), WALKS)) * atoms).astype(np.int64)]
    for _ in range(STEPS):
        here = walk[-1]
        chosen = begins[here] + (chance.random(here.shape) * bonds[here]).astype(np.int64)
        walk.append(np.where(bonds[here] > 0, neighbours[chosen], here))
    walks: np.ndarray = np.stack(walk, axis=2) - firsts[:, :, None]
    return walks.astype(np.int32)


# What a network says of a molecule's parts


def community_similarities(atoms: Tensor, batch: StructureBatch, pairs: int) -> Tensor:
    """Return the cosine similarities of pairs of communities: (B, pairs), in the order (1, 0), (2, 0), (2, 1), (3, 0).

    Args:
        atoms: representations, (atoms, width).
        batch: whose atoms they are.
        pairs: columns; of communities that a molecule lacks they mean nothing.
    """
    most = (1 + isqrt(1 + 8 * pairs)) // 2
    place = batch.graphs.batch * most + batch.communities
    pooled = sums(atoms, place, batch.graphs.num_graphs * most)
    unit = normalize(pooled, dim=1).view(-1, most, atoms.shape[1])
    first, second = torch.tril_indices(most, most, -1, device=atoms.device)
    similarities: Tensor = unit @ unit.transpose(1, 2)
    return similarities[:, first, second]


def known_pairs(batch: StructureBatch, pairs: int) -> Tensor:
    """Tell which columns of `community_similarities` are learnt: bool, (B, pairs)."""
    count = batch.communities.new_zeros(batch.graphs.num_graphs)
    count = count.scatter_reduce_(0, batch.graphs.batch, batch.communities + 1, "amax")
    count = torch.where(count < LEAST_COMMUNITIES, 0, count)
    most = (1 + isqrt(1 + 8 * pairs)) // 2
    larger, _ = torch.tril_indices(most, most, -1, device=count.device)
    known: Tensor = larger < count[:, None]
    return known


def walk_log_odds(atoms: Tensor, batch: StructureBatch) -> Tensor:
    """Return log p of each atom of a walk behind its first, given that one: (B, `WALKS` * `STEPS`)."""
    first, others = atoms[batch.walks[..., 0]], atoms[batch.walks[..., 1:]]
    return log_softmax(torch.einsum("bwd,bwsd->bws", first, others), dim=-1).flatten(1)


# How far a student is from its teacher: each term is a sum over what the teacher says, and of how many things


def graph_term(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ (s/|s| - t/|t|)² over representations (B, width), and how many numbers they have."""
    known = ~torch.isnan(teacher).any(dim=1, keepdim=True)
    apart = normalize(student, dim=1) - normalize(torch.where(known, teacher, torch.zeros_like(teacher)), dim=1)
    return torch.where(known, apart**2, torch.zeros_like(apart)).sum(), known.sum() * teacher.shape[1]


def communities_term(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ (s - t)² over `community_similarities`, where the teacher's are known, and how many molecules."""
    wanted = torch.where(torch.isnan(teacher), student.detach(), teacher)
    return ((student - wanted) ** 2).sum(), teacher.new_full((), len(teacher))


def walks_term(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ KL(teacher || student) over walks, given `walk_log_odds`, and how many walks."""
    known = ~torch.isnan(teacher).any(dim=1, keepdim=True)
    wanted = torch.where(known, teacher, torch.zeros_like(teacher))
    divergence = wanted.exp() * (wanted - student)
    walks = known.sum() * (teacher.shape[1] // STEPS)
    return torch.where(known, divergence, torch.zeros_like(divergence)).sum(), walks
