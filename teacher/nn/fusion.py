"""Teachers that read the graph of a molecule and the text about it together."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch_geometric.nn import ChebConv
from torch_geometric.utils import to_dense_batch

from teacher.nn.dropout import dropout as drop
from teacher.nn.gnn.parts import TYPICAL_ATOMS, atom_embedding, convolved
from teacher.nn.graphs import PairedBatch

Attention = Literal["both", "text", "atoms", "none"]
ATTENTIONS: tuple[Attention, ...] = get_args(Attention)


class MMF(nn.Module):
    """A network after MMF (arXiv 2408.14964), each part of which can be left out.

    - Chebyshev convolutions: in each layer an atom hears from those up to `hops` - 1 bonds away (Defferrard et al.,
      arXiv 1606.09375). With `hops` 1 no atom hears of another.
    - Cross-modal attention of several heads, both ways: the tokens of the text ask the atoms, and the atoms the tokens,
      what of them concerns them.
    - Softmax attention pooling of the tokens into one vector. Atoms are summed.
    - A mixture of experts: some read graph and text, and one reads what the LLM itself predicts from similar training
      molecules, where it does (`few_shot`). A gate over all of it gives each its share, and the prediction is the sum
      of the experts' predictions by their shares (`shares`).

    The paper's sizes, gate and loss could not be read; these are ours. Its text encoder is fine-tuned, and here it is
    frozen: the network reads the states of its last layer.

    Args:
        targets: numbers to predict.
        features: of a token's state.
        width: of atoms, tokens, and the representation.
        layers: convolutions.
        hops: Chebyshev polynomials of each, the paper's K.
        heads: of the attention; they divide the width.
        experts: that read graph and text.
        dropout: after each convolution, and before the prediction.
        tokens: whether the text is read token by token, rather than as the mean of its tokens.
        attention: who asks: "both", the "text", the "atoms", or "none".
        few_shot: whether an expert reads what the LLM predicts.
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
        tokens: bool = True,
        attention: Attention = "both",
        few_shot: bool = False,
    ) -> None:
        super().__init__()
        self.dropout, self.tokens = dropout, tokens
        self.atom = atom_embedding(width)
        self.layers = nn.ModuleList(ChebConv(width, width, hops) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers + 1))
        self.text = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width), nn.ReLU())
        self.text_asks = CrossAttention(width, heads) if attention in ("both", "text") else None
        self.atoms_ask = CrossAttention(width, heads) if attention in ("both", "atoms") else None
        self.weigh = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
        self.guess = nn.Sequential(nn.Linear(len(GUESS), width), nn.ReLU()) if few_shot else None
        read = 2 * width
        self.experts = nn.ModuleList(nn.Linear(read, width) for _ in range(experts))
        self.gate = nn.Linear(read + (width if few_shot else 0), experts + few_shot)
        self.head = nn.Linear(width, targets)

    @property
    def names(self) -> list[str]:
        """What the experts read, in the order of their shares."""
        named = [f"graph and text {number + 1}" for number in range(len(self.experts))]
        return [*named, "few-shot"] if self.guess else named

    def forward(self, batch: PairedBatch) -> tuple[Tensor, Tensor]:
        """Return the prediction (B, targets) and the representation (B, width)."""
        shares, opinions = self._mixture(batch)
        hidden = torch.einsum("be,bew->bw", shares, opinions)
        return self.head(drop(hidden, self.dropout, self.training)), hidden

    def shares(self, batch: PairedBatch) -> Tensor:
        """Return how much each expert counts: (B, experts), each row of sum 1, in the order of `names`."""
        return self._mixture(batch)[0]

    def _mixture(self, batch: PairedBatch) -> tuple[Tensor, Tensor]:
        """Return the experts' shares (B, experts), and what they make of the molecules (B, experts, width)."""
        read = self._read(batch)
        opinions = [torch.relu(expert(read)) for expert in self.experts]
        if self.guess is None:
            return torch.softmax(self.gate(read), dim=1), torch.stack(opinions, dim=1)
        if batch.guesses is None:
            raise ValueError("an expert reads what the LLM predicts, and there is nothing of it")
        guess = self.guess(batch.guesses)
        scores = self.gate(torch.cat([read, guess], dim=1))
        silent = batch.guesses[:, KNOWN] == 0
        shut = torch.zeros_like(scores)
        shut[:, -1] = torch.where(silent, -torch.inf, 0.0)
        return torch.softmax(scores + shut, dim=1), torch.stack([*opinions, guess], dim=1)

    def _read(self, batch: PairedBatch) -> Tensor:
        """Return of each molecule its graph and its text, after they have asked each other: (B, 2 width)."""
        graph = batch.graphs
        hidden = convolved(self, self.atom(graph.x), edge_index=graph.edge_index)
        atoms, is_atom = to_dense_batch(hidden, graph.batch, batch_size=graph.num_graphs)
        states, is_token = batch.texts.states, batch.texts.mask
        if not self.tokens:
            states = (states * is_token[..., None]).sum(1, keepdim=True) / is_token.sum(1)[:, None, None]
            is_token = is_token[:, :1]
        tokens = self.text(states)
        heard = tokens if self.text_asks is None else tokens + self.text_asks(tokens, atoms, is_atom)
        if self.atoms_ask is not None:
            atoms = atoms + self.atoms_ask(atoms, tokens, is_token)
        weights = torch.softmax(self.weigh(heard).masked_fill(~is_token[..., None], -torch.inf), dim=1)
        return torch.cat([(atoms * is_atom[..., None]).sum(1) / TYPICAL_ATOMS, (weights * heard).sum(1)], dim=1)


GUESS = ("value", "confidence", "known")  # columns of what the LLM predicts
KNOWN = GUESS.index("known")


class CrossAttention(nn.Module):
    """One side asks the other, with several heads (Vaswani et al., arXiv 1706.03762, section 3.2.2).

    Args:
        width: of both sides.
        heads: they divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, asking: Tensor, asked: Tensor, is_there: Tensor) -> Tensor:
        """Return what each asking one hears: (B, askers, width), of those asked (B, asked, width) that are there."""
        heard: Tensor = self.attention(asking, asked, asked, key_padding_mask=~is_there, need_weights=False)[0]
        return heard
