"""What it is worth to enhance some nodes of a text graph, beside as many at random, all, and none.

After E-LLaGNN (arXiv 2407.14996): under a budget some nodes have what a frozen encoder makes of their texts, all others
their words, hashed and counted. GLANCE (arXiv 2510.10849) found degree no better than chance, hence the control.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.features.library_graph import NodeChoice, centrality, degree, first_of, pagerank
from distill.text_graph.files import TextGraph
from teacher.errors import UsageError
from teacher.nn.library import AGGREGATIONS, Aggregation
from teacher.provenance import installed
from teacher.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from teacher.nn.nodes import NodeGNN

WORDS = 1_024  # numbers that a text's words are hashed to
LEARNING_RATE, WEIGHT_DECAY = 1e-2, 5e-4
BY: tuple[NodeChoice, ...] = ("degree", "pagerank", "cluster", "length", "random")
WITHOUT_EDGES = "all, without edges"
PACKAGES = ("gallon", "torch", "transformers", "scikit-learn", "numpy")


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """How nodes are chosen, and how the network is made.

    Attributes:
        budget: share of the nodes that are enhanced, above 0 and at most 1.
        by: what makes a node telling, one of `BY`; labels decide nothing.
        network: "sage" or "gcn".
        layers, width, dropout: of the network.
        epochs: of the training, of which the best on the validation part counts.
        seeds: how many, and `seed` the first: of the split, unless a column says it, the network and the draws.
    """

    budget: float = 0.1
    by: str = "degree"
    network: str = "sage"
    layers: int = 2
    width: int = 64
    dropout: float = 0.5
    epochs: int = 200
    seeds: int = 3
    seed: int = 0

    @property
    def aggregation(self) -> Aggregation:
        """The network by its kind.

        Raises:
            UsageError: there is none of this name.
        """
        for known in AGGREGATIONS:
            if known == self.network:
                return known
        raise UsageError(f"There is no network '{self.network}' over nodes: choose one of {', '.join(AGGREGATIONS)}.")

    @property
    def choice(self) -> NodeChoice:
        """What nodes are chosen by.

        Raises:
            UsageError: nothing is known by this name.
        """
        for known in BY:
            if known == self.by:
                return known
        raise UsageError(f"No node is chosen by '{self.by}': choose one of {', '.join(BY)}.")


def compare(
    graph: TextGraph,
    embed: Callable[[Sequence[str]], NDArray[np.float32]],
    settings: NodeSettings,
    show: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Train the same network on chosen, random, all and no enhanced nodes, and on all without an edge.

    The epoch is the best on the validation part; the test part decides nothing.

    Args:
        graph: whose labelled nodes are learned from, chosen and judged by.
        embed: makes vectors of texts.
        settings: how.
        show: called with the trainings that are done, and all.

    Returns:
        Fit for JSON: what was read, the settings, the versions, each seed's split, and `rows`: of each choice the
        number of enhanced nodes, and the accuracies of each seed with their mean.

    Raises:
        UsageError: the budget is less than a node, or a setting or part of the split is none.
    """
    number = int(settings.budget * len(graph))
    if not number:
        raise UsageError(f"A budget of {settings.budget:g} of {counted(len(graph), 'node')} is none: give more.")
    aggregation, by = settings.aggregation, settings.choice
    seeds = range(settings.seed, settings.seed + settings.seeds)
    splits = [graph.split(seed) for seed in seeds]
    scene = _Scene(graph, _words(graph.texts), embed(graph.texts), settings, aggregation)
    everyone, nobody = np.arange(len(graph)), np.empty(0, dtype=np.int64)
    choices: dict[str, Callable[[int], NDArray[np.int64]]] = {
        by: lambda seed: scene.chosen(by, number, seed),
        "random": lambda seed: scene.chosen("random", number, seed),
        "all": lambda _: everyone,
        "none": lambda _: nobody,
        WITHOUT_EDGES: lambda _: everyone,
    }
    rows: list[dict[str, Any]] = []
    for row, choose in choices.items():
        runs = []
        for seed, parts in zip(seeds, splits, strict=True):
            enhanced = np.isin(everyone, choose(seed))
            runs.append({"seed": seed, **scene.trained(enhanced, parts, seed, edges=row != WITHOUT_EDGES)})
            if show:
                show(len(rows) * len(splits) + len(runs), len(choices) * len(splits))
        rows.append({"enhanced": row, "nodes": int(enhanced.sum()), **_summary(runs), "runs": runs})
    return {**_facts(graph, settings, splits), "rows": rows}


@dataclass(frozen=True, eq=False)
class _Scene:
    """What all trainings read."""

    graph: TextGraph
    words: NDArray[np.float32]
    embedded: NDArray[np.float32]
    settings: NodeSettings
    aggregation: Aggregation

    def chosen(self, by: NodeChoice, number: int, seed: int) -> NDArray[np.int64]:
        """Return the nodes to be enhanced."""
        score: dict[NodeChoice, Callable[[], NDArray[np.float64]]] = {
            "degree": lambda: degree(self.graph.adjacency),
            "pagerank": lambda: pagerank(self.graph.adjacency),
            "cluster": lambda: centrality(self.words, seed),
            "length": lambda: np.array([len(text) for text in self.graph.texts], dtype=np.float64),
            "random": lambda: np.zeros(len(self.graph)),
        }
        return first_of(score[by](), number, seed)

    def trained(
        self, enhanced: NDArray[np.bool_], parts: Sequence[NDArray[np.int64]], seed: int, *, edges: bool
    ) -> dict[str, float]:
        """Return the accuracies at the epoch that validates best, the first of several."""
        import torch

        torch.manual_seed(seed)
        network, inputs = self._network(), self._inputs(enhanced, edges=edges)
        labels = torch.from_numpy(self.graph.labels)
        train, valid, test = (torch.from_numpy(part) for part in parts)
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        best = {"valid": -1.0, "test": 0.0, "best_epoch": 0}
        for epoch in range(1, self.settings.epochs + 1):
            network.train()
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(*inputs)[train], labels[train])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            network.eval()
            with torch.inference_mode():
                right = network(*inputs).argmax(dim=1) == labels
            if (accuracy := float(right[valid].float().mean())) > best["valid"]:
                best = {"valid": accuracy, "test": float(right[test].float().mean()), "best_epoch": epoch}
        return best

    def _network(self) -> NodeGNN:
        from teacher.nn.nodes import NodeGNN

        return NodeGNN(
            len(self.graph.classes),
            words=self.words.shape[1],
            embedding=self.embedded.shape[1],
            width=self.settings.width,
            layers=self.settings.layers,
            dropout=self.settings.dropout,
            aggregation=self.aggregation,
        )

    def _inputs(self, enhanced: NDArray[np.bool_], *, edges: bool) -> tuple[Tensor, ...]:
        import torch

        from teacher.nn.nodes import normalised

        ends = self.graph.adjacency.tocoo()
        pairs = torch.from_numpy(np.stack([ends.row, ends.col]).astype(np.int64))
        return (
            torch.from_numpy(self.words),
            torch.from_numpy(self.embedded),
            torch.from_numpy(enhanced[:, None]),
            normalised(pairs if edges else pairs[:, :0], len(self.graph), self.aggregation),
        )


def _words(texts: Sequence[str]) -> NDArray[np.float32]:
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed = HashingVectorizer(n_features=WORDS, alternate_sign=False).transform(texts)
    return np.asarray(hashed.todense(), dtype=np.float32)


def _summary(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    test = [run["test"] for run in runs]
    return {
        "valid": float(np.mean([run["valid"] for run in runs])),
        "test": float(np.mean(test)),
        "deviation": float(np.std(test, ddof=1)) if len(test) > 1 else 0.0,
    }


def _facts(graph: TextGraph, settings: NodeSettings, splits: Sequence[Sequence[NDArray[np.int64]]]) -> dict[str, Any]:
    return {
        "nodes": len(graph),
        "edges": graph.adjacency.nnz // 2,
        "classes": list(graph.classes),
        "files_sha256": list(graph.sha256),
        "settings": {
            **asdict(settings),
            **{"learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY, "words": WORDS},
        },
        "splits": [
            {
                "sizes": [len(part) for part in parts],
                "sha256": hashlib.sha256(b"|".join(part.tobytes() for part in parts)).hexdigest(),
            }
            for parts in splits
        ],
        "versions": installed(PACKAGES),
    }
