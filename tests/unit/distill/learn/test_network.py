"""A trained network, asked which columns of its input it needs."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor, nn

from distill.learn.network import Network, column_importance


class Second(nn.Module):
    """Predicts twice the second column."""

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * batch[:, 1:2], batch


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_the_column_that_a_network_needs_counts_and_others_do_not(kind: str) -> None:
    columns = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    unit = np.ones(1, dtype=np.float32)
    network = Network(Second(), 0 * unit, unit, "cpu")
    exact = 2 * columns[:, 1:2]
    labels = exact if kind == "regression" else (exact > 0).astype(np.float32)
    counts = column_importance(network, columns, labels, kind)  # type: ignore[arg-type]
    assert counts[0] == counts[2] == 0
    # Two independent draws of a deviation of 2 differ by 2 times the root of 2; a ranking by chance halves the area.
    assert counts[1] == pytest.approx(2 * 2**0.5 if kind == "regression" else 0.5, rel=0.15)
