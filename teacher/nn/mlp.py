"""Perceptrons: what maps one vector of each molecule to a prediction."""

from __future__ import annotations

from torch import Tensor, nn

from teacher.nn.dropout import Dropout


class MLP(nn.Module):
    """Maps vectors (B, features) to a prediction (B, targets) and a representation (B, width).

    Args:
        targets: numbers to predict.
        features: of a vector.
        width: of the hidden layers and the representation.
        layers: hidden layers.
        dropout: after each of them.
    """

    def __init__(self, targets: int, *, features: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.body = hidden_layers(features, width, layers, dropout)
        self.head = nn.Linear(width, targets)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prediction and the representation."""
        hidden = self.body(vectors)
        return self.head(hidden), hidden


def hidden_layers(features: int, width: int, layers: int, dropout: float) -> nn.Sequential:
    """Return hidden layers of ReLU, BatchNorm and dropout each."""
    body: list[nn.Module] = []
    for number in range(layers):
        body += [
            nn.Linear(width if number else features, width),
            nn.ReLU(),
            nn.BatchNorm1d(width),
            Dropout(dropout),
        ]
    return nn.Sequential(*body)
