"""Students: small perceptrons that never pass a message along a bond, and so score whole libraries fast.

Each maps a batch of B molecules to a prediction (B, targets) and the representation (B, width) it is made from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from teacher.nn.graphs import atom_categories, bond_categories
from teacher.nn.mlp import hidden_layers, perceptron

if TYPE_CHECKING:
    from torch import Tensor, nn

    from teacher.nn.graphs import GraphBatch

Input = Literal["atoms", "atoms-1hop", "fingerprint"]
INPUTS: tuple[Input, ...] = ("atoms", "atoms-1hop", "fingerprint")


def student(targets: int, *, reads: Input, width: int, layers: int, dropout: float, features: int = 0) -> nn.Module:
    """Return a student.

    Args:
        targets: numbers to predict.
        reads: "atoms" (GALLON's own: the raw features of each atom), "atoms-1hop" (with those of its bonds and
            neighbours, which an MLP may be given beforehand; MuGSI, arXiv 2406.19832), or "fingerprint".
        width: of the hidden layers and the representation.
        layers: hidden layers.
        dropout: after each of them.
        features: of a fingerprint; not used for atoms.
    """
    if reads == "fingerprint":
        return perceptron(targets, features=features, width=width, layers=layers, dropout=dropout)
    return _of_atoms(targets, reads, width, layers, dropout)


def _of_atoms(targets: int, reads: Input, width: int, layers: int, dropout: float) -> nn.Module:
    import torch
    from torch import nn
    from torch_geometric.nn import global_mean_pool
    from torch_geometric.utils import scatter

    class OfAtoms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            features = len(atom_categories())
            if reads == "atoms-1hop":
                features = 2 * sum(atom_categories()) + sum(bond_categories())
            self.body = hidden_layers(features, width, layers, dropout)
            self.head = nn.Linear(width, targets)

        def forward(self, batch: GraphBatch) -> tuple[Tensor, Tensor]:
            atoms = batch.atoms.float() if reads == "atoms" else self._neighbourhoods(batch)
            pooled = global_mean_pool(self.body(atoms), batch.molecule, batch.molecules)
            return self.head(pooled), pooled

        def _neighbourhoods(self, batch: GraphBatch) -> Tensor:
            """Count, for each atom, the features of itself, of its neighbours, and of its bonds."""
            atoms, bonds = _one_hot(batch.atoms, atom_categories()), _one_hot(batch.bonds, bond_categories())
            leaves, enters = batch.ends
            around = torch.cat([atoms[leaves], bonds], dim=1)
            return torch.cat([atoms, scatter(around, enters, dim=0, dim_size=len(atoms), reduce="sum")], dim=1)

    return OfAtoms()


def _one_hot(features: Tensor, categories: tuple[int, ...]) -> Tensor:
    """Return categorical features (n, f) as ones among zeros (n, sum of categories)."""
    import torch

    firsts = torch.tensor([0, *categories[:-1]], device=features.device).cumsum(0)
    ones = torch.zeros(len(features), sum(categories), device=features.device)
    return ones.scatter_(1, features + firsts, 1.0)
