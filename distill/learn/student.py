"""Students: small perceptrons that never pass a message along a bond, and so score whole libraries fast.

Each maps a batch of B molecules to a prediction (B, targets) and the representation (B, width) it is made from. They
need torch and not PyG, which takes a worker that screens a library as long again to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from teacher.nn.dropout import Dropout
from teacher.nn.gnn.sums import sums
from teacher.nn.graph_features import atom_categories, bond_categories
from teacher.nn.graphs import GraphBatch
from teacher.nn.mlp import MLP, hidden_layers

if TYPE_CHECKING:
    from distill.learn.recipes import Input


def student(
    targets: int, *, reads: Input, width: int, layers: int, dropout: float, features: int = 0
) -> MLP | AtomStudent:
    """Return the student that reads some input.

    Args:
        targets: numbers to predict.
        reads: "fingerprint", or what an `AtomStudent` reads.
        width: of the hidden layers and the representation.
        layers: hidden layers.
        dropout: after each of them.
        features: of a fingerprint; not used for atoms.
    """
    if reads == "fingerprint":
        return MLP(targets, features=features, width=width, layers=layers, dropout=dropout)
    return AtomStudent(targets, reads=reads, width=width, layers=layers, dropout=dropout)


class AtomStudent(nn.Module):
    """A perceptron over each atom, mean-pooled: it maps a `GraphBatch`, but hears nothing along its bonds.

    Args:
        targets: numbers to predict.
        reads: "atoms" (GALLON's own: the raw features of each atom) or "atoms-1hop" (with those of its bonds and
            neighbours, which an MLP may be given beforehand; MuGSI, arXiv 2406.19832).
        width: of the hidden layers and the representation.
        layers: hidden layers.
        dropout: after each of them.
    """

    def __init__(self, targets: int, *, reads: Input, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.reads = reads
        features = len(atom_categories())
        if reads == "atoms-1hop":
            features = 2 * sum(atom_categories()) + sum(bond_categories())
        self.body = hidden_layers(features, width, layers, dropout)
        self.head: nn.Module = nn.Linear(width, targets)

    def forward(self, graph: GraphBatch) -> tuple[Tensor, Tensor]:
        """Return the prediction and the representation."""
        return self.read(self.atoms(graph), graph)

    def atoms(self, graph: GraphBatch) -> Tensor:
        """Return the representations of atoms (atoms, width)."""
        read = graph.x.float() if self.reads == "atoms" else _neighbourhoods(graph)
        hidden: Tensor = self.body(read)
        return hidden

    def read(self, atoms: Tensor, graph: GraphBatch) -> tuple[Tensor, Tensor]:
        """Return the prediction and the representation that come of the representations of atoms."""
        atoms_of_each = torch.bincount(graph.batch, minlength=graph.num_graphs).clamp(min=1)
        pooled = sums(atoms, graph.batch, graph.num_graphs) / atoms_of_each[:, None]
        return self.head(pooled), pooled


class GallonStudent(AtomStudent):
    """GALLON's student as released (code of arXiv 2406.01032): a perceptron over each atom's raw features, mean-pooled.

    ReLU, BatchNorm and dropout stand behind all layers but the last, which is plain; dropout follows the pooling, too.
    With two classes the paper's 2,690 parameters are those of this network with two outputs, 2,626, and a BatchNorm
    behind the last layer that computes nothing.
    """

    def __init__(self, targets: int, *, width: int, layers: int, dropout: float) -> None:
        super().__init__(targets, reads="atoms", width=width, layers=layers - 1, dropout=dropout)
        self.body.append(nn.Linear(width, width))
        self.head = nn.Sequential(Dropout(dropout), self.head)


def _neighbourhoods(graph: GraphBatch) -> Tensor:
    """Count, for each atom, the features of itself, of its neighbours, and of its bonds."""
    atoms, bonds = _one_hot(graph.x, atom_categories()), _one_hot(graph.edge_attr, bond_categories())
    leaves, enters = graph.edge_index
    around = torch.cat([atoms[leaves], bonds], dim=1)
    return torch.cat([atoms, sums(around, enters, len(atoms))], dim=1)


def _one_hot(features: Tensor, categories: tuple[int, ...]) -> Tensor:
    """Return categorical features (n, f) as ones among zeros (n, sum of categories)."""
    firsts = torch.tensor([0, *categories[:-1]], device=features.device).cumsum(0)
    ones = torch.zeros(len(features), sum(categories), device=features.device)
    return ones.scatter_(1, features + firsts, 1.0)
