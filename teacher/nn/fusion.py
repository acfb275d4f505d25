"""Teachers that read the graph of a molecule and the text about it together."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import ChebConv

from teacher.nn.dropout import dropout as drop
from teacher.nn.gnn.parts import TYPICAL_ATOMS, atom_embedding, convolved
from teacher.nn.gnn.sums import sums
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
        graph, texts = batch.graphs, batch.texts
        atoms = convolved(self, self.atom(graph.x), edge_index=graph.edge_index)
        of_atoms = Padding.of_groups(graph.batch, graph.num_graphs)
        states, of_tokens = texts.states, Padding(texts.mask)
        if not self.tokens:
            states, of_tokens = of_tokens.means(states), Padding(texts.mask[:, :1])
        tokens = self.text(states)
        heard = tokens if self.text_asks is None else tokens + self.text_asks(tokens, of_tokens, atoms, of_atoms)
        if self.atoms_ask is not None:
            atoms = atoms + self.atoms_ask(atoms, of_atoms, tokens, of_tokens)
        weights = of_tokens.softmax(self.weigh(heard))
        return torch.cat([of_atoms.sums(atoms) / TYPICAL_ATOMS, of_tokens.sums(weights * heard)], dim=1)


GUESS = ("value", "confidence", "known")  # columns of what the LLM predicts
KNOWN = GUESS.index("known")


class Padding:
    """Rows that lie one after another, group by group, and their places in a table that has a line for each group.

    Only attention needs such a table, which is half empty: all else is computed of the rows alone.

    Args:
        mask: bool, shape (groups, longest): True where a group has a row.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self._places = mask.flatten().nonzero().squeeze(1)
        self._groups = self._places // mask.shape[1]

    @classmethod
    def of_groups(cls, groups: Tensor, number: int) -> Padding:
        """Read which group each row (rows) is in, in ascending order; there are so many groups."""
        sizes = torch.bincount(groups, minlength=number)
        return cls(torch.arange(int(sizes.max()), device=groups.device) < sizes[:, None])

    def table(self, rows: Tensor) -> Tensor:
        """Return rows (rows, width) in their places, (groups, longest, width); elsewhere there are zeros."""
        groups, longest = self.mask.shape
        empty = rows.new_zeros(groups * longest, rows.shape[1])
        return empty.index_copy(0, self._places, rows).view(groups, longest, -1)

    def rows(self, table: Tensor) -> Tensor:
        """Return the rows (rows, width) of a table (groups, longest, width)."""
        return table.flatten(0, 1).index_select(0, self._places)

    def sums(self, rows: Tensor) -> Tensor:
        """Return the sum of each group's rows, (groups, width)."""
        return sums(rows, self._groups, len(self.mask))

    def means(self, rows: Tensor) -> Tensor:
        """Return the mean of each group's rows, (groups, width)."""
        return self.sums(rows) / self.mask.sum(1, keepdim=True)

    def softmax(self, scores: Tensor) -> Tensor:
        """Return the share of each row (rows, 1) in its group, by scores of the same shape."""
        return self.rows(torch.softmax(self.table(scores).masked_fill(~self.mask[..., None], -torch.inf), dim=1))


class CrossAttention(nn.Module):
    """One side asks the other, with several heads (Vaswani et al., arXiv 1706.03762, section 3.2.2).

    Args:
        width: of both sides.
        heads: they divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads)

    def forward(self, asking: Tensor, of_asking: Padding, asked: Tensor, of_asked: Padding) -> Tensor:
        """Return what each asking row (N, width) hears from the asked ones (M, width) of its group: (N, width)."""
        layer, width = self.attention, asking.shape[1]
        of_queries, of_rest = layer.in_proj_weight[:width], layer.in_proj_weight[width:]
        bias, bias_of_rest = layer.in_proj_bias[:width], layer.in_proj_bias[width:]
        queries = self._heads(of_asking.table(functional.linear(asking, of_queries, bias)))
        rest = of_asked.table(functional.linear(asked, of_rest, bias_of_rest))
        keys, values = (self._heads(half) for half in rest.chunk(2, dim=2))
        heard = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=of_asked.mask[:, None, None])
        said: Tensor = layer.out_proj(of_asking.rows(heard.transpose(1, 2).flatten(2)))
        return said

    def _heads(self, table: Tensor) -> Tensor:
        """Return a table (groups, longest, width) by heads, (groups, heads, longest, width of a head)."""
        return table.view(*table.shape[:2], self.attention.num_heads, -1).transpose(1, 2)
