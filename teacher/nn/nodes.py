"""A graph network that classifies the nodes of one graph, whose texts are embedded or counted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from teacher.nn.library import Aggregation


class NodeGNN(nn.Module):
    """GraphSAGE with means (Hamilton et al., arXiv 1706.02216) or GCN (arXiv 1609.02907) over a whole graph.

    An enhanced node begins with a map of its text's embedding, any other with one of its words, as E-LLaGNN (arXiv
    2407.14996) enhances some nodes. A LayerNorm and a ReLU follow each layer, and a residual goes around it.

    Args:
        classes: to tell apart.
        words: width of what every node has.
        embedding: width of what enhanced nodes have.
        width: of the hidden layers.
        layers: how far a node hears: so many edges.
        dropout: before each layer.
        aggregation: "sage" or "gcn".
    """

    def __init__(
        self,
        classes: int,
        *,
        words: int,
        embedding: int,
        width: int,
        layers: int,
        dropout: float,
        aggregation: Aggregation,
    ) -> None:
        super().__init__()
        self.aggregation = aggregation
        self.words = nn.Linear(words, width)
        self.text = nn.Sequential(nn.LayerNorm(embedding), nn.Linear(embedding, width))
        self.itself = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.others = nn.ModuleList(
            nn.Linear(width, width, bias=False) for _ in range(layers if aggregation == "sage" else 0)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, words: Tensor, embedded: Tensor, enhanced: Tensor, adjacency: Tensor) -> Tensor:
        """Return logits, (N, classes).

        Args:
            words: (N, words).
            embedded: (N, embedding), read of enhanced nodes only.
            enhanced: bool, (N, 1).
            adjacency: sparse, (N, N), as `normalised` makes it for this aggregation.
        """
        hidden = torch.relu(torch.where(enhanced, self.text(embedded), self.words(words)))
        for number, norm in enumerate(self.norms):
            dropped = self.dropout(hidden)
            heard = torch.sparse.mm(adjacency, dropped)
            if self.aggregation == "sage":
                new = self.itself[number](dropped) + self.others[number](heard)
            else:
                new = self.itself[number](heard)
            hidden = hidden + torch.relu(norm(new))
        logits: Tensor = self.head(hidden)
        return logits


def normalised(edges: Tensor, size: int, aggregation: Aggregation) -> Tensor:
    """Return what neighbours are summed with: for "sage" their mean, for "gcn" D^-1/2 (A + I) D^-1/2.

    Args:
        edges: int64, (2, E): the ends of each edge, in both directions.
        size: number of nodes.
        aggregation: "sage" or "gcn".
    """
    if aggregation == "gcn":
        edges = torch.cat([edges, torch.arange(size).expand(2, size)], dim=1)
    rows, columns = edges
    degree = torch.bincount(rows, minlength=size).clamp(min=1).float()
    weight = (degree[rows] * degree[columns]).rsqrt() if aggregation == "gcn" else 1 / degree[rows]
    return torch.sparse_coo_tensor(edges, weight, (size, size), check_invariants=False).coalesce()
