"""Teachers that read the graph of a molecule and the text about it together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import ChebConv, global_add_pool
from torch_geometric.utils import softmax

from teacher.nn.dropout import dropout as drop
from teacher.nn.gnn import TYPICAL_ATOMS, atom_embedding, convolved
from teacher.nn.graphs import GraphBatch, PairedBatch


class MMF(nn.Module):
    """A network after MMF (arXiv 2408.14964): Chebyshev convolutions, cross-modal attention, experts.

    In each layer an atom hears from those up to `hops` - 1 bonds away (Defferrard et al., arXiv 1606.09375). The text
    asks the atoms, with several heads, what of them concerns it. Experts read the graph, the text and the answer, and a
    gate weighs them. Unlike in MMF the text is one vector of a frozen encoder rather than tokens, and what the LLM
    itself guesses from examples is left out. The paper's sizes, gate and loss could not be read.

    Args:
        targets: numbers to predict.
        features: of a text's vector.
        width: of atoms, texts, and the representation.
        layers: convolutions.
        hops: Chebyshev polynomials of each, the paper's K.
        heads: of the attention; they divide the width.
        experts: in the mixture.
        dropout: after each convolution, and before the prediction.
    """

    def __init__(
        self,
        targets: int,
        *,
        features: int,
        width: int,
        layers: int,
        hops: int,
        heads: int,
        experts: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.atom = atom_embedding(width)
        self.layers = nn.ModuleList(ChebConv(width, width, hops) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers + 1))
        self.text = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width), nn.ReLU())
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(3 * width, experts)
        self.experts = nn.Linear(3 * width, experts * width)
        self.head = nn.Linear(width, targets)

    def forward(self, batch: PairedBatch) -> tuple[Tensor, Tensor]:
        """Return the prediction (B, targets) and the representation (B, width)."""
        graph, text = batch.graphs, self.text(batch.texts)
        atoms = convolved(self, self.atom(graph.x), edge_index=graph.edge_index)
        pooled = global_add_pool(atoms, graph.batch, graph.num_graphs) / TYPICAL_ATOMS
        read = torch.cat([pooled, text, self._answers(text, atoms, graph)], dim=1)
        shares = torch.softmax(self.gate(read), dim=1)
        opinions = torch.relu(self.experts(read)).view(*shares.shape, -1)
        hidden = torch.einsum("be,bew->bw", shares, opinions)
        return self.head(drop(hidden, self.dropout, self.training)), hidden

    def _answers(self, text: Tensor, atoms: Tensor, graph: GraphBatch) -> Tensor:
        """Return, for each molecule, what its text attends to among its atoms: (B, width)."""
        queries = self.query(text).view(graph.num_graphs, self.heads, -1)[graph.batch]
        keys, values = (to(atoms).view(len(atoms), self.heads, -1) for to in (self.key, self.value))
        fit = (queries * keys).sum(2) / keys.shape[2] ** 0.5
        weights = softmax(fit, graph.batch, num_nodes=graph.num_graphs)
        answers: Tensor = global_add_pool((weights[..., None] * values).flatten(1), graph.batch, graph.num_graphs)
        return answers
