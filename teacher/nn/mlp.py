"""Perceptrons: what maps one vector of each molecule to a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from teacher.nn.dropout import dropout_layer

if TYPE_CHECKING:
    from torch import Tensor, nn


def perceptron(targets: int, *, features: int, width: int, layers: int, dropout: float) -> nn.Module:
    """Return a network that maps vectors (B, features) to a prediction (B, targets) and a representation (B, width).

    Args:
        targets: numbers to predict.
        features: of a vector.
        width: of the hidden layers and the representation.
        layers: hidden layers.
        dropout: after each of them.
    """
    from torch import nn

    class Perceptron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = hidden_layers(features, width, layers, dropout)
            self.head = nn.Linear(width, targets)

        def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
            hidden = self.body(vectors)
            return self.head(hidden), hidden

    return Perceptron()


def hidden_layers(features: int, width: int, layers: int, dropout: float) -> nn.Module:
    """Return hidden layers of ReLU, BatchNorm and dropout each, as GALLON's student has them."""
    from torch import nn

    body: list[nn.Module] = []
    for number in range(layers):
        body += [
            nn.Linear(width if number else features, width),
            nn.ReLU(),
            nn.BatchNorm1d(width),
            dropout_layer(dropout),
        ]
    return nn.Sequential(*body)
