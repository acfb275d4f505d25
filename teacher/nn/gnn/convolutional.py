"""Graph networks of PyG's convolutions: GCN, GIN and GATv2."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GATv2Conv, GCNConv, GINEConv, global_mean_pool
from torch_geometric.nn.aggr import Aggregation

from teacher.nn.dropout import dropout as drop
from teacher.nn.gnn.parts import TYPICAL_ATOMS, atom_embedding, bond_embedding, convolved, head
from teacher.nn.gnn.sums import NormalisedAdjacency, sums
from teacher.nn.graph_features import atom_categories
from teacher.nn.graphs import GraphBatch


class GCN(nn.Module):
    """GALLON's teacher: graph convolutions over the raw atom features, whose numbers count as they are.

    BatchNorm, ReLU and dropout stand after all layers but the last (code of arXiv 2406.01032). Bonds have no features.

    Args:
        targets: numbers to predict.
        width: of the atoms and of the representation.
        layers: convolutions.
        dropout: after each of them but the last.
        pooled_dropout: before the prediction, as released; 0 by default.
    """

    def __init__(self, targets: int, *, width: int, layers: int, dropout: float, pooled_dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout, self.pooled_dropout = dropout, pooled_dropout
        widths = [len(atom_categories()), *[width] * layers]
        self.layers = nn.ModuleList(GraphConvolution(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(layers - 1))
        self.head = nn.Linear(width, targets)

    def forward(self, graph: GraphBatch) -> tuple[Tensor, Tensor]:
        """Return the prediction and the representation."""
        pooled = global_mean_pool(self.atoms(graph), graph.batch, graph.num_graphs)
        return self.head(drop(pooled, self.pooled_dropout, self.training)), pooled

    def atoms(self, graph: GraphBatch) -> Tensor:
        """Return the representations of atoms (atoms, width), whose mean is the molecule's."""
        hidden, adjacency = graph.x.float(), NormalisedAdjacency.of(graph)
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden, adjacency)
            if number < len(self.norms):
                hidden = drop(torch.relu(self.norms[number](hidden)), self.dropout, self.training)
        return hidden


class GraphConvolution(GCNConv):  # type: ignore[misc]
    """PyG's graph convolution, by an adjacency that is made once for all layers."""

    def forward(self, x: Tensor, adjacency: NormalisedAdjacency) -> Tensor:
        """Return atoms (atoms, width)."""
        mean: Tensor = adjacency @ self.lin(x) + self.bias
        return mean


class ResidualGNN(nn.Module):
    """Convolutions with LayerNorm before and a residual around each, sum-pooled.

    Args:
        targets: numbers to predict.
        convolutions: take atoms, `edge_index` and `edge_attr`; made after the embeddings, so that a seed decides both.
        width: of atoms and bonds.
        dropout: after each convolution, and before the prediction.
    """

    def __init__(self, targets: int, convolutions: Iterable[nn.Module], *, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.atom = atom_embedding(width)
        self.bond = bond_embedding(width)
        self.layers = nn.ModuleList(convolutions)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(len(self.layers) + 1))
        self.head = head(targets, width, dropout)

    def forward(self, graph: GraphBatch) -> tuple[Tensor, Tensor]:
        """Return the prediction and the representation."""
        pooled = sums(self.atoms(graph), graph.batch, graph.num_graphs) / TYPICAL_ATOMS
        return self.head(pooled), pooled

    def atoms(self, graph: GraphBatch) -> Tensor:
        """Return the representations of atoms (atoms, width), whose sum, scaled, is the molecule's."""
        return convolved(self, self.atom(graph.x), edge_index=graph.edge_index, edge_attr=self._bonds(graph))

    def _bonds(self, graph: GraphBatch) -> Any:
        """Return what a convolution takes of the bonds."""
        return self.bond(graph.edge_attr)


class GIN(ResidualGNN):
    """A graph isomorphism network with bond features (GINE; Hu et al., arXiv 1905.12265)."""

    def __init__(self, targets: int, *, width: int, layers: int, dropout: float) -> None:
        def convolution() -> nn.Module:
            perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
            layer: nn.Module = GINEConv(perceptron, aggr=Sum())
            return layer

        super().__init__(targets, (convolution() for _ in range(layers)), width=width, dropout=dropout)


class GATv2(ResidualGNN):
    """A graph attention network with bond features (GATv2; Brody et al., arXiv 2105.14491)."""

    def __init__(self, targets: int, *, width: int, layers: int, dropout: float, heads: int) -> None:
        convolutions = (Attention(width, width // heads, heads=heads, edge_dim=width) for _ in range(layers))
        super().__init__(targets, convolutions, width=width, dropout=dropout)

    def _bonds(self, graph: GraphBatch) -> Callable[[Tensor], Tensor]:
        """Return what maps the vectors of the bonds by a weight."""
        return partial(self.bond.mapped, graph.edge_attr)


class Attention(GATv2Conv):  # type: ignore[misc]
    """PyG's convolution of GATv2, whose vectors of bonds are mapped before they are copied to each bond.

    An atom hears itself by the mean of the bonds that enter it, beside its neighbours and not among them. Together that
    takes a CPU two thirds of the time in training.
    """

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Callable[[Tensor], Tensor]) -> Tensor:
        """Return atoms (atoms, heads * width of a head).

        Args:
            x: atoms.
            edge_index: as in `GraphBatch`.
            edge_attr: maps the vectors of all bonds by a weight.
        """
        leaves, enters = edge_index
        said, asks, bonds = self.lin_l(x), self.lin_r(x), edge_attr(self.lin_edge.weight)
        heard = said.index_select(0, leaves)
        entering = torch.bincount(enters, minlength=len(x)).clamp(min=1)
        scores = self._scores(heard + asks.index_select(0, enters) + bonds)
        of_itself = self._scores(said + asks + sums(bonds, enters, len(x)) / entering[:, None])
        with torch.no_grad():  # the exponential of their distance to it cannot overflow
            highest = of_itself.scatter_reduce(0, enters[:, None].expand_as(scores), scores, "amax")
        weights, own = (scores - highest.index_select(0, enters)).exp(), (of_itself - highest).exp()
        answered = self._weighted(said, own) + sums(self._weighted(heard, weights), enters, len(x))
        mean: Tensor = self._weighted(answered, 1 / (own + sums(weights, enters, len(x)))) + self.bias
        return mean

    def _scores(self, pairs: Tensor) -> Tensor:
        """Return how much each head listens, (n, heads), before it is shared out (Brody et al., eq. 7)."""
        activated = functional.leaky_relu(pairs, self.negative_slope).view(-1, self.heads, self.out_channels)
        scores: Tensor = (activated * self.att).sum(-1)
        return scores

    def _weighted(self, values: Tensor, weights: Tensor) -> Tensor:
        """Return values (n, heads * width of a head) by the weights (n, heads) of their heads."""
        weighted: Tensor = values.view(-1, self.heads, self.out_channels) * weights[:, :, None]
        return weighted.view(values.shape)


class Sum(Aggregation):  # type: ignore[misc]
    """The sum of the messages at an atom, for convolutions of PyG, by `sums`."""

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = 0,
    ) -> Tensor:
        """Return the sums of messages (messages, ...) over the `dim_size` atoms."""
        assert index is not None and dim_size is not None and dim in {0, -x.dim()}
        return sums(x, index, dim_size)
