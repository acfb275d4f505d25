"""Teachers that read the graph of a molecule and the text about it together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from teacher.nn.dropout import dropout as drop
from teacher.nn.gnn import TYPICAL_ATOMS, atom_embedding, convolved

if TYPE_CHECKING:
    from torch import Tensor, nn

    from teacher.nn.graphs import PairedBatch


def mmf(
    targets: int, *, features: int, width: int, layers: int, hops: int, heads: int, experts: int, dropout: float
) -> nn.Module:
    """Return a network after MMF (arXiv 2408.14964): Chebyshev convolutions, cross-modal attention, experts.

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
    import torch
    from torch import nn
    from torch_geometric.nn import ChebConv, global_add_pool
    from torch_geometric.utils import softmax

    class Mmf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
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
            graph, text = batch.graphs, self.text(batch.texts)
            atoms = convolved(self, self.atom(graph.atoms), dropout, edge_index=graph.ends)
            pooled = global_add_pool(atoms, graph.molecule, graph.molecules) / TYPICAL_ATOMS
            read = torch.cat([pooled, text, self._answers(text, atoms, batch)], dim=1)
            shares = torch.softmax(self.gate(read), dim=1)
            opinions = torch.relu(self.experts(read)).view(-1, experts, width)
            hidden = torch.einsum("be,bew->bw", shares, opinions)
            return self.head(drop(hidden, dropout, self.training)), hidden

        def _answers(self, text: Tensor, atoms: Tensor, batch: PairedBatch) -> Tensor:
            """Return, for each molecule, what its text attends to among its atoms: (molecules, width)."""
            molecule, molecules = batch.graphs.molecule, batch.graphs.molecules
            queries = self.query(text).view(molecules, heads, -1)[molecule]
            keys, values = (to(atoms).view(len(atoms), heads, -1) for to in (self.key, self.value))
            fit = (queries * keys).sum(2) / keys.shape[2] ** 0.5
            weights = softmax(fit, molecule, num_nodes=molecules)
            answers: Tensor = global_add_pool((weights[..., None] * values).flatten(1), molecule, molecules)
            return answers

    return Mmf()
