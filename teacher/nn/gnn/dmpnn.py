"""The D-MPNN. It has none of PyG's convolutions: whoever loads one is spared the 2.6 s that importing PyG takes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from teacher.nn.dropout import dropout as drop
from teacher.nn.gnn.parts import TYPICAL_ATOMS, atom_embedding, bond_embedding, head
from teacher.nn.gnn.sums import sums
from teacher.nn.graphs import GraphBatch


class DMPNN(nn.Module):
    """A network that passes messages along directed bonds (D-MPNN; Yang et al., arXiv 1904.01561, eqs. 3 to 7).

    A bond hears from all bonds that enter the atom it leaves, but for its own other direction.
    """

    def __init__(self, targets: int, *, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.steps, self.dropout = layers, dropout
        self.atom = atom_embedding(width)
        self.bond = bond_embedding(width)
        self.first = nn.Linear(2 * width, width, bias=False)
        self.update = nn.Linear(width, width, bias=False)
        self.gather = nn.Linear(2 * width, width)
        self.head = head(targets, width, dropout)

    def forward(self, graph: GraphBatch) -> tuple[Tensor, Tensor]:
        """Return the prediction and the representation."""
        atoms = self.atoms(graph)
        pooled = sums(atoms, graph.batch, graph.num_graphs) / TYPICAL_ATOMS
        return self.head(pooled), pooled

    def atoms(self, graph: GraphBatch) -> Tensor:
        """Return the representations of atoms (atoms, width), whose sum, scaled, is the molecule's."""
        leaves, enters = graph.edge_index
        atoms = self.atom(graph.x)
        start = self._first_of(atoms, graph)
        bonds = torch.relu(start)
        for _ in range(self.steps):
            heard = sums(bonds, enters, len(atoms))
            bonds = torch.relu(start + self.update(heard.index_select(0, leaves) - _reversed(bonds)))
            bonds = drop(bonds, self.dropout, self.training)
        heard = sums(bonds, enters, len(atoms))
        return drop(torch.relu(self.gather(torch.cat([atoms, heard], dim=1))), self.dropout, self.training)

    def _first_of(self, atoms: Tensor, graph: GraphBatch) -> Tensor:
        """Return `first` of [atom that a bond leaves, bond], (directed bonds, width).

        Each atom is multiplied once, not once for each bond that leaves it, and of bonds only their vectors.
        """
        of_atoms, of_bonds = self.first.weight.chunk(2, dim=1)
        left = functional.linear(atoms, of_atoms).index_select(0, graph.edge_index[0])
        return left + self.bond.mapped(graph.edge_attr, of_bonds)


def _reversed(bonds: Tensor) -> Tensor:
    """Return directed bonds (2k, width) with the two directions of each bond exchanged."""
    return bonds.view(-1, 2, bonds.shape[1]).flip(1).view(-1, bonds.shape[1])
