"""Graph teachers: graph neural networks of PyG that read atoms and bonds.

Each maps a `GraphBatch` of B molecules to a prediction (B, targets) and the representation (B, width) it is made from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from teacher.nn.dropout import dropout as drop
from teacher.nn.dropout import dropout_layer
from teacher.nn.graphs import atom_categories, bond_categories

if TYPE_CHECKING:
    from torch import Tensor, nn

    from teacher.nn.graphs import GraphBatch

# Sums over atoms are divided by this, as chemprop 2 divides them by 100: a sum, unlike a mean, tells how large a
# molecule is. On ESOL (scaffold split, one seed) D-MPNN came from a test RMSE of 1.10 to 0.91 by it, GIN from 1.19 to
# 0.93.
TYPICAL_ATOMS = 25


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A graph network that can be built by name.

    Attributes:
        summary: what it is, with its source.
        build: makes the network; takes the number of targets and the settings.
        settings: their defaults.
    """

    summary: str
    build: Callable[..., nn.Module]
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def gcn(targets: int, *, width: int, layers: int, dropout: float) -> nn.Module:
    """Return GALLON's teacher: graph convolutions over the raw atom features, whose numbers count as they are.

    BatchNorm, ReLU and dropout stand after all layers but the last (code of arXiv 2406.01032). Bonds have no features.
    """
    import torch
    from torch import nn
    from torch_geometric.nn import GCNConv, global_mean_pool

    class Gcn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [len(atom_categories()), *[width] * layers]
            self.layers = nn.ModuleList(GCNConv(a, b, normalize=False) for a, b in pairwise(widths))
            self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(layers - 1))
            self.head = nn.Linear(width, targets)

        def forward(self, batch: GraphBatch) -> tuple[Tensor, Tensor]:
            hidden, neighbours = batch.atoms.float(), _normalised_adjacency(batch)
            for number, layer in enumerate(self.layers):
                hidden = layer(hidden, neighbours)
                if number < len(self.norms):
                    hidden = drop(torch.relu(self.norms[number](hidden)), dropout, self.training)
            pooled = global_mean_pool(hidden, batch.molecule, batch.molecules)
            return self.head(pooled), pooled

    return Gcn()


def gin(targets: int, *, width: int, layers: int, dropout: float) -> nn.Module:
    """Return a graph isomorphism network with bond features (GINE; Hu et al., arXiv 1905.12265)."""
    from torch import nn
    from torch_geometric.nn import GINEConv

    def convolution() -> Any:
        return GINEConv(nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)))

    return _residual(targets, convolution, width=width, layers=layers, dropout=dropout)


def gat(targets: int, *, width: int, layers: int, dropout: float, heads: int) -> nn.Module:
    """Return a graph attention network with bond features (GATv2; Brody et al., arXiv 2105.14491)."""
    from torch_geometric.nn import GATv2Conv

    def convolution() -> Any:
        return GATv2Conv(width, width // heads, heads=heads, edge_dim=width)

    return _residual(targets, convolution, width=width, layers=layers, dropout=dropout)


def dmpnn(targets: int, *, width: int, layers: int, dropout: float) -> nn.Module:
    """Return a network that passes messages along directed bonds (D-MPNN; Yang et al., arXiv 1904.01561, eqs. 3 to 7).

    A bond hears from all bonds that enter the atom it leaves, but for its own other direction.
    """
    import torch
    from torch import nn
    from torch_geometric.utils import scatter

    class Dmpnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.atom = atom_embedding(width)
            self.bond = _embedding(bond_categories(), width)
            self.first = nn.Linear(2 * width, width, bias=False)
            self.update = nn.Linear(width, width, bias=False)
            self.gather = nn.Linear(2 * width, width)
            self.head = _head(targets, width, dropout)

        def forward(self, batch: GraphBatch) -> tuple[Tensor, Tensor]:
            leaves, enters = batch.ends
            atoms = self.atom(batch.atoms)
            start = self.first(torch.cat([atoms[leaves], self.bond(batch.bonds)], dim=1))
            bonds = torch.relu(start)
            for _ in range(layers):
                heard = scatter(bonds, enters, dim=0, dim_size=len(atoms), reduce="sum")
                backwards = bonds.view(-1, 2, width).flip(1).view(-1, width)
                bonds = torch.relu(start + self.update(heard[leaves] - backwards))
                bonds = drop(bonds, dropout, self.training)
            heard = scatter(bonds, enters, dim=0, dim_size=len(atoms), reduce="sum")
            atoms = drop(torch.relu(self.gather(torch.cat([atoms, heard], dim=1))), dropout, self.training)
            pooled = scatter(atoms, batch.molecule, dim=0, dim_size=batch.molecules, reduce="sum") / TYPICAL_ATOMS
            return self.head(pooled), pooled

    return Dmpnn()


def _normalised_adjacency(batch: GraphBatch) -> Tensor:
    """Return D^-1/2 (A + I) D^-1/2 over all atoms as a sparse matrix (Kipf and Welling, arXiv 1609.02907, eq. 2).

    One product with it takes the place of a message for each bond, which would be as large as the atoms and bonds
    together.
    """
    import warnings

    from torch_geometric.nn.conv.gcn_conv import gcn_norm
    from torch_geometric.utils import to_torch_csr_tensor

    atoms = len(batch.atoms)
    ends, weights = gcn_norm(batch.ends, num_nodes=atoms)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse", UserWarning)  # that CSR is in beta, and its invariants unchecked
        matrix: Tensor = to_torch_csr_tensor(ends, weights, size=(atoms, atoms))
    return matrix


def _residual(
    targets: int, convolution: Callable[[], nn.Module], *, width: int, layers: int, dropout: float
) -> nn.Module:
    """Return convolutions with LayerNorm before and a residual around each, mean-pooled."""
    from torch import nn
    from torch_geometric.nn import global_add_pool

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.atom = atom_embedding(width)
            self.bond = _embedding(bond_categories(), width)
            self.layers = nn.ModuleList(convolution() for _ in range(layers))
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers + 1))
            self.head = _head(targets, width, dropout)

        def forward(self, batch: GraphBatch) -> tuple[Tensor, Tensor]:
            atoms, bonds = self.atom(batch.atoms), self.bond(batch.bonds)
            hidden = convolved(self, atoms, dropout, edge_index=batch.ends, edge_attr=bonds)
            pooled = global_add_pool(hidden, batch.molecule, batch.molecules) / TYPICAL_ATOMS
            return self.head(pooled), pooled

    return Residual()


def convolved(network: Any, atoms: Tensor, dropout: float, **edges: Tensor) -> Tensor:
    """Return atoms (atoms, width) after all of a network's convolutions, each with a residual around it.

    Args:
        network: has `layers`, and `norms`: one before each of them, and one at the end.
        atoms: as they begin.
        dropout: after each convolution, in training.
        edges: what a convolution takes beside the atoms.
    """
    import torch

    for layer, norm in zip(network.layers, network.norms, strict=False):
        atoms = atoms + drop(torch.relu(layer(norm(atoms), **edges)), dropout, network.training)
    normed: Tensor = network.norms[-1](atoms)
    return normed


def _head(targets: int, width: int, dropout: float) -> nn.Module:
    from torch import nn

    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), dropout_layer(dropout), nn.Linear(width, targets))


def atom_embedding(width: int) -> nn.Module:
    """Return a module that maps the categorical features of atoms (n, 9) to learned vectors (n, width)."""
    return _embedding(atom_categories(), width)


def _embedding(categories: tuple[int, ...], width: int) -> nn.Module:
    """Return a module that maps categorical features (n, f) to the sum of their learned vectors (n, width)."""
    import torch
    from torch import nn

    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.EmbeddingBag(sum(categories), width, mode="sum")
            self.firsts: Tensor
            self.register_buffer("firsts", torch.tensor([0, *categories[:-1]]).cumsum(0), persistent=False)

        def forward(self, features: Tensor) -> Tensor:
            summed: Tensor = self.table(features + self.firsts)
            return summed

    return Embedding()


ARCHITECTURES: dict[str, Architecture] = {
    "gcn": Architecture(
        summary="GCN of GALLON: 3 layers of 32 on raw atom features, no bonds",
        build=gcn,
        settings={"width": 32, "layers": 3, "dropout": 0.3},
    ),
    "gin": Architecture(
        summary="GIN with bond features (GINE)",
        build=gin,
        settings={"width": 128, "layers": 4, "dropout": 0.1},
    ),
    "gat": Architecture(
        summary="GATv2 with bond features",
        build=gat,
        settings={"width": 128, "layers": 4, "dropout": 0.1, "heads": 4},
    ),
    "dmpnn": Architecture(
        summary="directed-edge message passing (D-MPNN)",
        build=dmpnn,
        settings={"width": 128, "layers": 3, "dropout": 0.1},
    ),
}
