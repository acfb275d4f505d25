"""Dropout: what it leaves, what it learns from, and that a seed decides it."""

import pytest
import torch

from teacher.nn.dropout import Dropout, dropout


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_share_is_dropped_and_the_rest_makes_up_for_it(rate: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(1001, 333, requires_grad=True)
    left = dropout(values, rate, training=True)
    assert float((left == 0).float().mean()) == pytest.approx(rate, abs=0.003)
    assert torch.allclose(left[left != 0], torch.tensor(1 / (1 - rate)), rtol=1e-4)
    left.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None and torch.equal(values.grad, left)  # of ones, the gradient is what is left of them


def test_neighbours_fall_independently() -> None:
    torch.manual_seed(0)
    dropped = dropout(torch.ones(400_000), 0.3, training=True) == 0
    for distance in (1, 2, 3, 4):
        both = dropped[distance:] & dropped[:-distance]
        assert float(both.float().mean()) == pytest.approx(0.09, abs=0.003)


def test_a_seed_decides_what_falls() -> None:
    layer = Dropout(0.2)
    left = []
    for _ in range(2):
        torch.manual_seed(7)
        left.append(layer(torch.ones(50, 3)))
    assert torch.equal(*left) and not torch.equal(left[0], layer(torch.ones(50, 3)))


@pytest.mark.parametrize(("rate", "share"), [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_or_everything_can_fall(rate: float, share: float) -> None:
    assert float(dropout(torch.ones(100), rate, training=True).mean()) == share


def test_a_trained_network_drops_nothing() -> None:
    assert torch.equal(Dropout(0.9).eval()(torch.ones(100)), torch.ones(100))
