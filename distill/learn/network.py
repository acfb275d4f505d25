"""A trained network outside of training: built anew, filled with its weights, and asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from distill.features.scaled_vectors import ScaledVectors
from distill.learn.metrics import main_metric, score
from distill.learn.recipes import Recipe
from distill.models.ensemble import of_member
from distill.models.model_store import PREFIX
from teacher.nn.graphs import Paired
from teacher.nn.inputs import Inputs, Matrix, TokenStates
from teacher.nn.library import LibraryInputs
from teacher.nn.mugsi import StructuredGraphs, community_similarities, known_pairs, walk_log_odds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.data.cells import Kind

AT_A_TIME = 512


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network.

    Attributes:
        module: maps a batch of B molecules to scores (B, targets) and representations (B, width).
        means, deviations: the units of the labels.
        device: that it is on.
    """

    module: nn.Module
    means: NDArray[np.float32]
    deviations: NDArray[np.float32]
    device: str

    @classmethod
    def load(cls, file: Path, build: Callable[[], nn.Module], member: int = 0) -> Network:
        """Read the weights of a network in safetensors, or of one of an ensemble.

        Raises:
            SafetensorError, OSError, RuntimeError, KeyError: they are damaged, or of another network.
        """
        weights = of_member(load_file(file), member)
        module = build()
        inside = {name.removeprefix(PREFIX): value for name, value in weights.items() if name.startswith(PREFIX)}
        module.load_state_dict(inside)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(module.eval().to(device), weights["means"].numpy(), weights["deviations"].numpy(), device)

    def predict(self, inputs: Inputs, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return logits of classes and values in the labels' units, (rows, targets), and representations."""
        with torch.inference_mode():
            answers = [
                self.module(inputs.batch(rows[first : first + AT_A_TIME]).to(self.device))
                for first in range(0, len(rows), AT_A_TIME)
            ]
        scores, representation = (torch.cat(column).float().cpu().numpy() for column in zip(*answers, strict=True))
        return scores * self.deviations + self.means, representation


def parts_said(network: Network, inputs: StructuredGraphs) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what a graph network says of the parts of molecules, as a student learns it (`teacher.nn.mugsi`).

    Returns:
        The similarities of communities, (molecules, pairs), NaN where they are not learnt; and the logarithms of the
        odds of walks, (molecules, `WALKS` * `STEPS`).
    """
    module: Any = network.module
    similar, odds = [], []
    with torch.inference_mode():
        for first in range(0, len(inputs), AT_A_TIME):
            batch = inputs.batch(np.arange(first, min(first + AT_A_TIME, len(inputs)))).to(network.device)
            atoms = module.atoms(batch.graphs)
            said = community_similarities(atoms, batch, inputs.pairs)
            similar.append(said.masked_fill(~known_pairs(batch, inputs.pairs), torch.nan).cpu())
            odds.append(walk_log_odds(atoms, batch).cpu())
    return torch.cat(similar).numpy(), torch.cat(odds).numpy()


def expert_shares(network: Network, inputs: Inputs, rows: NDArray[np.int64]) -> dict[str, float]:
    """Return how much each expert of a mixture (`teacher.nn.fusion.MMF`) counts, on average over some rows."""
    mixture: Any = network.module
    with torch.inference_mode():
        shares = [
            mixture.shares(inputs.batch(rows[first : first + AT_A_TIME]).to(network.device)).double().sum(0)
            for first in range(0, len(rows), AT_A_TIME)
        ]
    if not shares:
        return {}
    mean = torch.stack(shares).sum(0) / len(rows)
    return {name: round(share, 4) for name, share in zip(mixture.names, mean.tolist(), strict=True)}


def column_importance(
    network: Network, vectors: NDArray[np.float32], labels: NDArray[np.float32], kind: Kind, repeats: int = 5
) -> NDArray[np.float64]:
    """Return how much worse a network is where a column is that of other molecules (permutation importance).

    It is that of Breiman, Machine Learning 45 (2001) 5, of the main metric: of columns that say the same, each may look
    as if it said nothing.

    Args:
        network: reads vectors.
        vectors: float32, (N, columns), as it reads them.
        labels: (N, targets); NaN where missing.
        kind: of the targets.
        repeats: permutations of each column, over which the mean is taken; the same ones at each call.

    Returns:
        (columns,), in the unit of the main metric; NaN where that cannot be measured.
    """
    metric, sign = main_metric(kind), -1 if kind == "classification" else 1
    rows = np.arange(len(vectors))

    def error(read: NDArray[np.float32]) -> float:
        return sign * score(kind, labels, network.predict(Matrix(read), rows)[0])[metric]

    chance, whole = np.random.default_rng(0), error(vectors)
    orders = [chance.permutation(len(vectors)) for _ in range(repeats)]
    found = np.zeros(vectors.shape[1])
    for column in range(vectors.shape[1]):
        for order in orders:
            moved = vectors.copy()
            moved[:, column] = vectors[order, column]
            found[column] += (error(moved) - whole) / repeats
    return found


def settings_for(recipe: Recipe, inputs: Inputs, encoder: str) -> dict[str, Any]:
    """Return a recipe's settings with what the inputs decide: the number of features, or the encoder of the tokens."""
    if recipe.reads == "tokens":
        return {**recipe.settings, "encoder": encoder}
    if isinstance(inputs, LibraryInputs):
        widths = {"features": inputs.features.shape[1], "text_features": inputs.texts.shape[1]}
        return {**recipe.settings, **widths}
    vectors = inputs.texts if isinstance(inputs, Paired) else inputs
    if isinstance(vectors, TokenStates):
        return {**recipe.settings, "features": vectors.states.shape[1]}
    if isinstance(vectors, Matrix | ScaledVectors):
        return {**recipe.settings, "features": vectors.width}
    return dict(recipe.settings)
