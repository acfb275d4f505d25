"""The contrast of molecules and texts, by hand and where texts repeat or are missing."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from teacher.nn.alignment import FIRST_TEMPERATURE, SHARED_WIDTH, SharedSpace, contrast

N = 6
ALL = slice(0, N)
KNOWN = torch.ones(N, dtype=torch.bool)
APART = torch.arange(N).float()[:, None].expand(N, 2)


def places() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(N, 8), torch.randn(N, 8)


def test_the_contrast_is_the_mean_of_both_cross_entropies() -> None:
    graphs, texts = places()
    logits = graphs @ texts.T
    expected = (cross_entropy(logits, torch.arange(N)) + cross_entropy(logits.T, torch.arange(N))) / 2
    losses = contrast(graphs, texts, APART, KNOWN, ALL)
    assert float(losses.mean()) == pytest.approx(float(expected), rel=1e-5)
    parts = [contrast(graphs, texts, APART, KNOWN, slice(*part)) for part in ((0, 2), (2, 6))]
    assert torch.allclose(torch.cat(parts), losses)


def test_the_same_text_is_no_wrong_answer_and_what_has_none_takes_no_part() -> None:
    graphs, texts = places()
    twice = APART.clone()
    twice[1] = twice[0]
    losses = contrast(graphs, texts, twice, KNOWN, ALL)
    without_one, without_other = ([row for row in range(N) if row != left_out] for left_out in (1, 0))
    for kept, row in ((without_one, 0), (without_other, 1)):  # each of the pair chooses as if the other were not there
        alone = contrast(graphs[kept], texts[kept], APART[kept], KNOWN[kept], slice(0, N - 1))
        assert float(losses[row]) == pytest.approx(float(alone[kept.index(row)]), rel=1e-5)
    known = KNOWN.clone()
    known[3] = False
    rest = [row for row in range(N) if row != 3]
    losses = contrast(graphs, texts, APART, known, ALL)
    expected = contrast(graphs[rest], texts[rest], APART[rest], KNOWN[rest], slice(0, N - 1))
    assert losses[3] == 0 and torch.allclose(losses[rest], expected)
    assert contrast(graphs[:1], texts[:1], APART[:1], KNOWN[:1], slice(0, 1)).tolist() == [0.0]  # nothing to choose


def test_places_have_one_length_and_the_temperature_is_learned_but_never_below_its_least() -> None:
    space = SharedSpace(4)
    graphs = space.of_graphs(torch.randn(3, SHARED_WIDTH))
    assert graphs.norm(dim=1).tolist() == pytest.approx([1 / FIRST_TEMPERATURE] * 3)
    assert space.of_texts(torch.randn(3, 4)).norm(dim=1).tolist() == pytest.approx([1.0] * 3)
    graphs.sum().backward()
    assert space.log_scale.grad is not None and space.log_scale.grad != 0
    with torch.no_grad():
        space.log_scale.fill_(math.log(1e6))
    assert space.of_graphs(torch.ones(1, SHARED_WIDTH)).norm().item() == pytest.approx(100)
