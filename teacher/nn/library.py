"""A library as a graph for neural networks: each molecule with its neighbours, theirs, and what was written about them.

After E-LLaGNN (arXiv 2407.14996): ordinary message passing over a graph some of whose nodes an LLM has described. The
neighbours of a molecule are the most similar ones of a library. Nothing is read that was written about the molecule
that is predicted, since about a new one nothing is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from teacher.nn.dropout import dropout as drop

Aggregation = Literal["sage", "gcn"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


KEPT = ("features", "texts", "told", "neighbours", "similarity")  # of the library, with a model


@dataclass(frozen=True, slots=True)
class LibraryBatch:
    """B molecules, each as a tree of neighbours and their neighbours, with k branches at each node.

    Attributes:
        own: float32, (B, features).
        nodes: float32, (U, features), of all molecules that stand in the trees.
        texts: float32, (U, width), what an encoder makes of their texts; zero where there is none.
        told: float32, (U, 1), whether there is one.
        places: of each level of the trees, int64, (B, k, ... k): which node stands there.
        weights: likewise, float32: its similarity to the one above; 0 where nobody stands.
    """

    own: Tensor
    nodes: Tensor
    texts: Tensor
    told: Tensor
    places: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]

    def to(self, device: str) -> LibraryBatch:
        """Return the same batch on a device."""
        own, nodes, texts, told = (each.to(device) for each in (self.own, self.nodes, self.texts, self.told))
        places, weights = (tuple(each.to(device) for each in levels) for levels in (self.places, self.weights))
        return LibraryBatch(own, nodes, texts, told, places, weights)


@dataclass(frozen=True, eq=False)
class LibraryInputs:
    """Molecules with their neighbours in a library.

    Attributes:
        features: float32, (molecules, features).
        texts: float32, (molecules, width): zero but for those of the library that are described.
        told: bool, (molecules,): which those are.
        neighbours: int64, (molecules, k): rows of the library's molecules; -1 where there are no more.
        similarity: float32, (molecules, k).
        itself: int64, (molecules,): the row of the library that is the same molecule, or another number where none is.
        depth: how many times neighbours are asked for theirs.
        rows: int64, the molecules that are read.
    """

    features: np.ndarray
    texts: np.ndarray
    told: np.ndarray
    neighbours: np.ndarray
    similarity: np.ndarray
    itself: np.ndarray
    depth: int
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def arrays(self, library: np.ndarray) -> dict[str, np.ndarray]:
        """Return the library alone, as arrays to be kept: its rows become 0, 1, ... in their order."""
        place = np.full(len(self.features) + 1, -1, dtype=np.int64)  # the last one is -1's
        place[library] = np.arange(len(library))
        arrays = {name: np.ascontiguousarray(getattr(self, name)[library]) for name in KEPT}
        return {**arrays, "neighbours": place[arrays["neighbours"]]}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], depth: int) -> LibraryInputs:
        """Return the library that was kept; a missing array is a KeyError."""
        kept = {name: arrays[name] for name in KEPT}
        rows = np.arange(len(kept["features"]))
        return cls(**kept, itself=rows, depth=depth, rows=rows)

    def take(self, rows: np.ndarray) -> LibraryInputs:
        """Return some rows; the library stays whole."""
        return replace(self, rows=self.rows[rows])

    def with_new(
        self, features: np.ndarray, neighbours: np.ndarray, similarity: np.ndarray, itself: np.ndarray
    ) -> LibraryInputs:
        """Return molecules that are asked about as if they were new, with the same library.

        Args:
            features: of N molecules.
            neighbours: in the library, (N, k).
            similarity: to them, (N, k).
            itself: of each the row of the library that is the same molecule; -1 where none is.
        """
        new = len(features)
        return replace(
            self,
            features=np.concatenate([self.features, features]),
            texts=np.concatenate([self.texts, np.zeros((new, self.texts.shape[1]), dtype=np.float32)]),
            told=np.concatenate([self.told, np.zeros(new, dtype=bool)]),
            neighbours=np.concatenate([self.neighbours, neighbours]),
            similarity=np.concatenate([self.similarity, similarity]),
            itself=np.concatenate([self.itself, itself]),
            rows=len(self.features) + np.arange(new),
        )

    def batch(self, rows: np.ndarray) -> LibraryBatch:
        """Return the trees of some rows. No molecule stands in its own tree, so that its text is not read there."""
        asked = self.rows[rows]
        level, levels, weights = asked, [], []
        for _ in range(self.depth):
            below, alike = self.neighbours[level], self.similarity[level]
            seeds = self.itself[asked].reshape(-1, *[1] * (below.ndim - 1))
            alike = np.where((below < 0) | (below == seeds), 0.0, alike).astype(np.float32)
            level = np.maximum(below, 0)
            levels.append(level)
            weights.append(alike)
        unique, places = np.unique(np.concatenate([each.ravel() for each in levels]), return_inverse=True)
        ends = np.cumsum([0, *(each.size for each in levels)])
        return LibraryBatch(
            own=torch.from_numpy(self.features[asked]),
            nodes=torch.from_numpy(self.features[unique]),
            texts=torch.from_numpy(self.texts[unique]),
            told=torch.from_numpy(self.told[unique, None].astype(np.float32)),
            places=tuple(
                torch.from_numpy(places[first:last].reshape(each.shape))
                for each, first, last in zip(levels, ends[:-1], ends[1:], strict=True)
            ),
            weights=tuple(torch.from_numpy(each) for each in weights),
        )


class LibraryGNN(nn.Module):
    """A graph network over a library (GraphSAGE, Hamilton et al., arXiv 1706.02216, or GCN, arXiv 1609.02907).

    "sage" adds a map of the neighbours' mean, weighted by similarity, to a map of the molecule itself; "gcn" maps the
    mean of both together, the molecule with weight 1. A LayerNorm and a ReLU follow, and a residual goes
    around each layer.

    Args:
        targets: numbers to predict.
        features: of a molecule.
        text_features: of a text.
        width: of the hidden layers and the representation.
        layers: how far a molecule hears: so many edges.
        dropout: after each layer.
        aggregation: "sage" or "gcn".
        texts: whether what is written about the neighbours is read.
    """

    def __init__(
        self,
        targets: int,
        *,
        features: int,
        text_features: int,
        width: int,
        layers: int,
        dropout: float,
        aggregation: Aggregation = "sage",
        texts: bool = True,
    ) -> None:
        super().__init__()
        self.dropout, self.aggregation = dropout, aggregation
        self.molecule = nn.Linear(features, width)
        self.text = nn.Sequential(nn.LayerNorm(text_features), nn.Linear(text_features, width)) if texts else None
        self.itself = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.others = nn.ModuleList(
            nn.Linear(width, width, bias=False) for _ in range(layers if aggregation == "sage" else 0)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.head = nn.Linear(width, targets)

    def forward(self, batch: LibraryBatch) -> tuple[Tensor, Tensor]:
        """Return the prediction (B, targets) and the representation (B, width)."""
        nodes = self.molecule(batch.nodes)
        if self.text is not None:
            nodes = nodes + batch.told * self.text(batch.texts)
        nodes = torch.relu(nodes)
        levels = [torch.relu(self.molecule(batch.own)), *(nodes[places] for places in batch.places)]
        for number in range(len(self.itself)):
            levels = [
                self._heard(number, levels[level], levels[level + 1], batch.weights[level])
                for level in range(len(levels) - 1)
            ]
        return self.head(levels[0]), levels[0]

    def _heard(self, number: int, own: Tensor, others: Tensor, weights: Tensor) -> Tensor:
        """Return nodes (..., width) after a layer, of those below them (..., k, width) and their weights (..., k)."""
        total = (weights[..., None] * others).sum(-2)
        weight = weights.sum(-1, keepdim=True)
        if self.aggregation == "sage":
            new = self.itself[number](own) + self.others[number](total / weight.clamp(min=1e-6))
        else:
            new = self.itself[number]((own + total) / (1 + weight))
        return own + drop(torch.relu(self.norms[number](new)), self.dropout, self.training)


def gradient_norms(network: LibraryGNN, batch: LibraryBatch) -> list[float]:
    """Return how much each layer would move: the norm of the gradient of the predictions' sum by its weights.

    E-LLaGNN (arXiv 2407.14996) claims that enhanced neighbours let gradients reach the first layers of deep networks.

    Args:
        network: with N layers.
        batch: of B molecules; the gradient is divided by B.

    Returns:
        N norms, that of the layer next to the inputs first.
    """
    predicted, _ = network(batch)
    norms = []
    for number in range(len(network.itself)):
        layers = [network.itself[number], *([network.others[number]] if len(network.others) else [])]
        weights = [parameter for layer in layers for name, parameter in layer.named_parameters() if name == "weight"]
        gradients = torch.autograd.grad(predicted.sum() / len(batch.own), weights, retain_graph=True)
        norms.append(float(torch.cat([each.flatten() for each in gradients]).norm()))
    return norms
