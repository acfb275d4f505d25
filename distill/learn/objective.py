"""What is minimised: the task's own loss, and how far the student is from its teachers.

loss = task + Σ α₁·soft(teacher) + Σ α₂·hidden(teacher), over all teachers, each weight free (GALLON, arXiv 2406.01032,
distills labels for classification and representations for regression; here both serve both).

- *task*: binary cross entropy of logits, or squared error in units of the training labels' standard deviation.
- *soft*: KL divergence of the student's probabilities from the teacher's at temperature τ, times τ² (Hinton et al.,
  arXiv 1503.02531, section 2.1); for regression the squared error, which is twice the KL divergence of two Gaussians
  of unit variance.
- *hidden*: squared error between a linear map of the student's representation and the teacher's, whitened. The
  teacher's side is fixed and of unit variance in each direction, so that a student that says nothing pays 1: this term
  cannot collapse.
- *same* and *mapped*: the terms that GALLON released for numbers (`Objective`). There the map is on the teacher's side,
  where it and the student can shrink to nothing together.
- *graph*, *communities* and *walks*: MuGSI's terms of a molecule and its parts (`teacher.nn.mugsi`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from cluster.training.group import joined
from distill.data.dataset import Target
from teacher.nn.alignment import IDENTITY, SHARED_WIDTH, SharedSpace, contrast
from teacher.nn.mugsi import (
    StructureBatch,
    communities_term,
    community_similarities,
    graph_term,
    walk_log_odds,
    walks_term,
)

HIDDEN_WIDTH = 64  # directions of a teacher's representation that are kept when it is whitened
LEAST_VARIANCE = 1e-6  # share of the first direction's; below it a direction is noise
TERMS = ("soft", "hidden", "same", "mapped", "graph", "communities", "walks")  # that a teacher can have beside the task


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weights of the terms.

    Attributes:
        soft: α₁ of each teacher's predictions.
        hidden: α₂ of each teacher's representations.
        same: of each teacher, the weight of MSE(g, t): the mean squared error between the student's representation g
            and the teacher's t as it is, of the same width.
        mapped: of each teacher, the weight of MSE(g, W·t), with a matrix W that is learned, too.
        graph, communities, walks: of each teacher, the weights of MuGSI's terms.
        temperature: τ.
        label_smoothing: share of the certainty that is taken from class labels.
        balance: weigh positives so that both classes weigh the same.
    """

    soft: Mapping[str, float] = field(default_factory=dict)
    hidden: Mapping[str, float] = field(default_factory=dict)
    same: Mapping[str, float] = field(default_factory=dict)
    mapped: Mapping[str, float] = field(default_factory=dict)
    graph: Mapping[str, float] = field(default_factory=dict)
    communities: Mapping[str, float] = field(default_factory=dict)
    walks: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 1.0
    label_smoothing: float = 0.0
    balance: bool = False

    @property
    def has_structure(self) -> bool:
        """Whether parts of molecules are compared, which a student is to be shown with them (`StructuredGraphs`)."""
        return bool(self.graph or self.communities or self.walks)


@dataclass(frozen=True)
class Scale:
    """The units in which labels are learnt: of each target the mean and the standard deviation, and its kind.

    Attributes:
        means, deviations: one of each target; 0 and 1 for classes.
        classes: whether each target is a class.
        positive_weights: of each target, the number of negatives for one positive among the training labels; 1 where
            there is one class only.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    classes: tuple[bool, ...]
    positive_weights: tuple[float, ...]

    @classmethod
    def of(cls, labels: np.ndarray, targets: Sequence[Target]) -> Scale:
        """Fit the units to the training labels (molecules, targets), NaN where missing.

        A target without a label keeps its units: there is nothing to learn of it.
        """
        known = ~np.isnan(labels)
        counts = np.maximum(known.sum(axis=0), 1)
        values = np.where(known, labels, 0).astype(np.float64)  # squares of float32 overflow early
        means = values.sum(axis=0) / counts
        deviations = np.sqrt((np.where(known, values - means, 0) ** 2).sum(axis=0) / counts)
        classes = tuple(target.kind == "classification" for target in targets)
        return cls(
            tuple(0.0 if is_class else float(mean) for is_class, mean in zip(classes, means, strict=True)),
            tuple(
                1.0 if is_class else float(spread) or 1.0 for is_class, spread in zip(classes, deviations, strict=True)
            ),
            classes,
            tuple(
                float((1 - mean) / mean) if is_class and 0 < mean < 1 else 1.0
                for is_class, mean in zip(classes, means, strict=True)
            ),
        )

    def in_labels_units(self) -> Scale:
        """Return the same, but for numbers that are learnt as they are."""
        targets = len(self.classes)
        return replace(self, means=(0.0,) * targets, deviations=(1.0,) * targets)


class NetworkWithLoss(nn.Module):
    """What `cluster.training.driver` trains: a network with the terms of its loss.

    Targets that it is called with: `labels`, and for each teacher of the objective `soft.NAME` (in the units of the
    labels, or logits), `hidden.NAME` (whitened), `same.NAME` and `mapped.NAME` (representations as they are). What is
    NaN in them is not learnt.

    Args:
        network: makes the network, which maps a batch to predictions (B, targets) and representations (B, width).
        scale: the units of the labels.
        objective: the weights of the terms.
        widths: of the network's representation under "student", and of each teacher's under its name.
    """

    means: Tensor
    deviations: Tensor

    def __init__(
        self, network: Callable[[], nn.Module], scale: Scale, objective: Objective, widths: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.scale, self.objective = scale, objective
        self.network = network()
        self.maps = nn.ModuleDict({name: nn.Linear(widths["student"], widths[name]) for name in objective.hidden})
        self.teacher_maps = nn.ModuleDict(
            {name: nn.Linear(widths[name], widths["student"], bias=False) for name in objective.mapped}
        )
        self.register_buffer("means", torch.tensor(scale.means))
        self.register_buffer("deviations", torch.tensor(scale.deviations))

    def forward(self, batch: Any, targets: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return each term of the loss: the weighted sum over what is known, and how many things it sums."""
        scores, hidden = self.network(batch)
        return self.terms(scores, hidden, targets)

    def terms(self, scores: Tensor, hidden: Tensor, targets: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the terms of what the network has said: predictions (B, targets) and representations (B, width)."""
        terms = {"task": _masked(self._task, scores, targets["labels"])}
        for name, weight in self.objective.soft.items():
            terms[f"soft.{name}"] = _masked(self._soft, scores, targets[f"soft.{name}"], weight)
        for name, weight in self.objective.hidden.items():
            mapped = self.maps[name](hidden)
            terms[f"hidden.{name}"] = _masked(_squared, mapped, targets[f"hidden.{name}"], weight)
        for name, weight in self.objective.same.items():
            terms[f"same.{name}"] = _masked(_squared, hidden, targets[f"same.{name}"], weight)
        for name, weight in self.objective.mapped.items():
            terms[f"mapped.{name}"] = self._mapped(hidden, name, targets[f"mapped.{name}"], weight)
        return terms

    def predict(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Return logits of classes and values in the labels' units, (B, targets), and representations."""
        scores, hidden = self.network(batch)
        return scores * self.deviations + self.means, hidden

    def truth(self, labels: Tensor) -> Tensor:
        """Return the labels (B, targets)."""
        return labels

    def _task(self, scores: Tensor, labels: Tensor) -> Tensor:
        smooth = self.objective.label_smoothing
        balanced = self.scale.positive_weights if self.objective.balance else (1.0,) * len(self.scale.classes)
        cross_entropy = binary_cross_entropy_with_logits(
            scores,
            (labels * (1 - smooth) + smooth / 2).clamp(0, 1),
            pos_weight=torch.tensor(balanced, device=scores.device),
            reduction="none",
        )
        return self._by_kind(cross_entropy, _squared(scores, self._in_units(labels)))

    def _soft(self, scores: Tensor, teacher: Tensor) -> Tensor:
        temperature = self.objective.temperature
        wanted = torch.sigmoid(teacher / temperature)
        divergence = binary_cross_entropy_with_logits(
            scores / temperature, wanted, reduction="none"
        ) - binary_cross_entropy_with_logits(teacher / temperature, wanted, reduction="none")
        return self._by_kind(divergence * temperature**2, _squared(scores, self._in_units(teacher)))

    def _mapped(self, hidden: Tensor, name: str, teacher: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        known = ~torch.isnan(teacher).any(dim=1, keepdim=True)
        wanted = self.teacher_maps[name](torch.where(known, teacher, torch.zeros_like(teacher)))
        losses = torch.where(known, _squared(hidden, wanted), torch.zeros_like(hidden))
        return weight * losses.sum(), known.sum() * hidden.shape[1]

    def _in_units(self, values: Tensor) -> Tensor:
        return (values - self.means) / self.deviations

    def _by_kind(self, of_classes: Tensor, of_values: Tensor) -> Tensor:
        return torch.where(torch.tensor(self.scale.classes, device=of_classes.device), of_classes, of_values)


class NetworkWithStructure(NetworkWithLoss):
    """A student of atoms that is compared with its teachers part by part, too, as MuGSI does (`teacher.nn.mugsi`).

    Further targets of each teacher: `graph.NAME`, its representation; `communities.NAME` and `walks.NAME`, what it says
    of a molecule's parts. It is called with a `StructureBatch`; its network has `atoms` and `read`, as `AtomStudent`.
    """

    def __init__(
        self, network: Callable[[], nn.Module], scale: Scale, objective: Objective, widths: Mapping[str, int]
    ) -> None:
        super().__init__(network, scale, objective, widths)
        self.graph_maps = nn.ModuleDict({name: nn.Linear(widths["student"], widths[name]) for name in objective.graph})

    def forward(self, batch: StructureBatch, targets: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return each term of the loss: the weighted sum over what is known, and how many things it sums."""
        network: Any = self.network
        atoms = network.atoms(batch.graphs)
        scores, hidden = network.read(atoms, batch.graphs)
        terms = self.terms(scores, hidden, targets)
        for name, weight in self.objective.graph.items():
            total, count = graph_term(self.graph_maps[name](hidden), targets[f"graph.{name}"])
            terms[f"graph.{name}"] = weight * total, count
        for name, weight in self.objective.communities.items():
            teacher = targets[f"communities.{name}"]
            total, count = communities_term(community_similarities(atoms, batch, teacher.shape[1]), teacher)
            terms[f"communities.{name}"] = weight * total, count
        for name, weight in self.objective.walks.items():
            total, count = walks_term(walk_log_odds(atoms, batch), targets[f"walks.{name}"])
            terms[f"walks.{name}"] = weight * total, count
        return terms

    def predict(self, batch: StructureBatch) -> tuple[Tensor, Tensor]:
        """Return logits of classes and values in the labels' units, (B, targets), and representations."""
        return super().predict(batch.graphs)


class NetworkWithTargets(nn.Module):
    """What `cluster.training.driver` pre-trains: a network that predicts many columns at once, in groups.

    loss = Σ weight · mean squared error over what is known of a group + weight · InfoNCE of molecules and their texts
    (`teacher.nn.alignment`), among all molecules of a step, those of other workers included.

    It is called with the target `labels`: the T columns of the groups and, where texts are aligned, of each molecule's
    text the vector and the identity.

    Args:
        network: makes the network, which maps a batch to T predictions and, where texts are aligned, to its place in
            the shared space, (B, T + `SHARED_WIDTH`), and to representations (B, width).
        groups: name, number of columns and weight of each, in the order of the columns.
        alignment: width of a text's vector, and the weight of the alignment; None where texts are not aligned.
    """

    def __init__(
        self,
        network: Callable[[], nn.Module],
        groups: Sequence[tuple[str, int, float]],
        alignment: tuple[int, float] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.groups = network(), groups
        self.numbers = sum(width for _, width, _ in groups)
        width, self.weight = alignment or (0, 0.0)
        self.space = SharedSpace(width) if width else None

    def forward(self, batch: Any, targets: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return each group's term of the loss: the weighted sum over what is known, and how many things it sums."""
        scores, _ = self.network(batch)
        terms, first = {}, 0
        for name, width, weight in self.groups:
            columns = slice(first, first + width)
            terms[name] = _masked(_squared, scores[:, columns], targets["labels"][:, columns], weight)
            first += width
        if self.space:
            told = targets["labels"][:, first:]
            terms["alignment"] = self._aligned(self.space, scores[:, first:], told)
        return terms

    def predict(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Return predictions and representations: (B, T), or with places in the shared space (B, T + D); (B, width)."""
        scores, hidden = self.network(batch)
        if self.space:
            scores = torch.cat([scores[:, : self.numbers], self.space.of_graphs(scores[:, self.numbers :])], dim=1)
        return scores, hidden

    def truth(self, labels: Tensor) -> Tensor:
        """Return the columns of the groups, and of texts the place in the shared space and the identity."""
        if not self.space:
            return labels
        vectors, identity = labels[:, self.numbers : -IDENTITY], labels[:, -IDENTITY:]
        return torch.cat([labels[:, : self.numbers], self.space.of_texts(vectors), identity], dim=1)

    def _aligned(self, space: SharedSpace, graphs: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        known = ~torch.isnan(told).any(dim=1, keepdim=True)
        vectors, identity = torch.where(known, told, torch.zeros_like(told)).tensor_split([-IDENTITY], dim=1)
        mine = [space.of_graphs(graphs), space.of_texts(vectors), identity, known.float()]
        everything, first = joined(torch.cat(mine, dim=1))
        widths = [SHARED_WIDTH, SHARED_WIDTH, IDENTITY, 1]
        graphs, texts, identity, known_to_all = torch.split(everything, widths, dim=1)
        losses = contrast(graphs, texts, identity, known_to_all[:, 0] > 0, slice(first, first + len(told)))
        return self.weight * losses.sum(), known.sum()


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """What turns a teacher's representation into at most `HIDDEN_WIDTH` uncorrelated columns of unit variance.

    Attributes:
        mean: (width,).
        directions: (columns, width), each divided by the standard deviation along it. There is none where the teacher
            says the same of all training molecules, or speaks of fewer than two.
    """

    mean: np.ndarray
    directions: np.ndarray

    @classmethod
    def fit(cls, representation: np.ndarray, train: np.ndarray) -> Whitening:
        """Find the directions.

        Args:
            representation: (molecules, width); rows that are NaN are left out.
            train: the rows that decide the directions.
        """
        known = ~np.isnan(representation).any(axis=1)
        shown = representation[train[known[train]]]
        if len(shown) < 2:
            width = representation.shape[1]
            return cls(np.zeros(width, dtype=np.float32), np.empty((0, width), dtype=np.float32))
        analysis = PCA(min(HIDDEN_WIDTH, *shown.shape), whiten=True, random_state=0).fit(shown)
        variances = analysis.explained_variance_
        kept = variances > LEAST_VARIANCE * variances[0]
        directions = analysis.components_[kept] / np.sqrt(variances[kept, None])
        return cls(analysis.mean_.astype(np.float32), directions.astype(np.float32))

    def transform(self, representation: np.ndarray) -> np.ndarray:
        """Return representations (N, width) whitened, float32 (N, columns); rows that are NaN stay so."""
        white: np.ndarray = (representation.astype(np.float32) - self.mean) @ self.directions.T
        return white


def whiten(representation: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return a representation (molecules, width) whitened by some of its rows, see `Whitening`."""
    return Whitening.fit(representation, train).transform(representation)


def _masked(
    loss: Callable[[Tensor, Tensor], Tensor], scores: Tensor, targets: Tensor, weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of a loss over the targets that are known, and how many those are."""
    known = ~torch.isnan(targets)
    losses = loss(scores, torch.where(known, targets, torch.zeros_like(targets)))
    return weight * torch.where(known, losses, torch.zeros_like(losses)).sum(), known.sum()


def _squared(scores: Tensor, targets: Tensor) -> Tensor:
    return (scores - targets) ** 2
