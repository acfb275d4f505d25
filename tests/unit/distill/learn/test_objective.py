import numpy as np
import pytest
import torch
from torch import nn

from distill.data.dataset import Target
from distill.learn.objective import NetworkWithLoss, Objective, Scale, whiten

CLASSES = (Target("toxic", "classification"),)
NUMBERS = (Target("logS", "regression"), Target("logP", "regression"))


class Echo(nn.Module):
    """Predicts what it is shown, and represents it so too."""

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return batch, batch


def build(labels: np.ndarray, targets: tuple[Target, ...], objective: Objective, **widths: int):
    return NetworkWithLoss(Echo, Scale.of(labels, targets), objective, {"student": labels.shape[1], **widths})


def test_what_is_missing_is_not_learnt() -> None:
    labels = np.array([[1.0, 4.0], [3.0, np.nan]], dtype=np.float32)
    model = build(labels, NUMBERS, Objective())
    total, count = model(torch.zeros(2, 2), {"labels": torch.from_numpy(labels)})["task"]
    assert count == 3
    assert float(total) == pytest.approx(2.0)  # one standard deviation either side of 2, and the mean of a lone 4


def test_predictions_are_in_the_units_of_the_labels() -> None:
    labels = np.array([[1.0, 10.0], [3.0, 30.0]], dtype=np.float32)
    prediction, _ = build(labels, NUMBERS, Objective()).predict(torch.tensor([[0.0, 1.0]]))
    assert prediction.tolist() == [[2.0, 30.0]]


def test_classes_are_learnt_by_their_cross_entropy() -> None:
    labels = np.array([[1.0], [0.0]], dtype=np.float32)
    model = build(labels, CLASSES, Objective())
    total, _ = model(torch.tensor([[2.0], [-1.0]]), {"labels": torch.from_numpy(labels)})["task"]
    assert float(total) == pytest.approx(np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0)), rel=1e-5)


def test_balanced_classes_weigh_the_same() -> None:
    labels = np.array([[1.0], [0.0], [0.0], [0.0]], dtype=np.float32)
    model = build(labels, CLASSES, Objective(balance=True))
    on_positive, _ = model(torch.zeros(1, 1), {"labels": torch.ones(1, 1)})["task"]
    on_negatives, _ = model(torch.zeros(3, 1), {"labels": torch.zeros(3, 1)})["task"]
    assert float(on_positive) == pytest.approx(float(on_negatives))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_student_that_says_what_its_teacher_says_pays_nothing(temperature: float) -> None:
    labels = np.array([[1.0], [0.0]], dtype=np.float32)
    model = build(labels, CLASSES, Objective(soft={"gnn": 0.5}, temperature=temperature))
    logits = torch.tensor([[1.5], [-0.3]])
    targets = {"labels": torch.from_numpy(labels), "soft.gnn": logits}
    assert float(model(logits, targets)["soft.gnn"][0]) == pytest.approx(0.0, abs=1e-6)
    assert float(model(logits + 1, targets)["soft.gnn"][0]) > 0.01


def test_soft_labels_are_the_kl_divergence_of_bernoullis() -> None:
    labels = np.array([[1.0], [0.0]], dtype=np.float32)
    model = build(labels, CLASSES, Objective(soft={"gnn": 2.0}))
    teacher, student = torch.tensor([[0.4]]), torch.tensor([[-1.2]])
    p, q = torch.sigmoid(teacher), torch.sigmoid(student)
    expected = 2.0 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log())
    total, count = model(student, {"labels": torch.ones(1, 1), "soft.gnn": teacher})["soft.gnn"]
    assert count == 1
    assert float(total) == pytest.approx(float(expected), rel=1e-5)


def test_a_silent_student_pays_the_whole_representation_term() -> None:
    rng = np.random.default_rng(0)
    white = whiten(rng.normal(size=(500, 8)).astype(np.float32) * 7 + 3, np.arange(500))
    assert np.allclose(np.cov(white.T), np.eye(8), atol=1e-2)
    labels = np.zeros((500, 1), dtype=np.float32)
    labels[0] = 1
    model = build(labels, CLASSES, Objective(hidden={"gnn": 1.0}), gnn=8)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    targets = {"labels": torch.from_numpy(labels), "hidden.gnn": torch.from_numpy(white)}
    total, count = model(torch.zeros(500, 1), targets)["hidden.gnn"]
    assert float(total / count) == pytest.approx(1.0, abs=0.01)


def test_whitening_drops_directions_that_say_nothing_and_keeps_the_unknown_unknown() -> None:
    rng = np.random.default_rng(0)
    flat = np.repeat(rng.normal(size=(50, 1)), 3, axis=1).astype(np.float32)
    flat[7] = np.nan
    white = whiten(flat, np.arange(40))
    assert white.shape == (50, 1)
    assert np.isnan(white[7]).all() and not np.isnan(np.delete(white, 7, axis=0)).any()


def test_the_objective_that_gallon_released_for_numbers_is_what_its_formula_says() -> None:
    """MSE(labels) + 0.1 MSE(g, g_gnn) + 0.1 MSE(g, W h_lm), by hand: labels as they are, nothing whitened."""
    labels = np.array([[1.0, 2.0], [3.0, 6.0]], dtype=np.float32)
    student = np.array([[0.0, 1.0], [2.0, -1.0]], dtype=np.float32)
    gnn = np.array([[0.5, 1.0], [2.0, 0.0]], dtype=np.float32)
    lm = np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]], dtype=np.float32)
    matrix = np.array([[1.0, 0.0, -1.0], [0.5, 0.5, 0.5]], dtype=np.float32)
    scale = Scale.of(labels, NUMBERS).in_labels_units()
    objective = Objective(same={"gnn0": 0.1}, mapped={"lm0": 0.1})
    model = NetworkWithLoss(Echo, scale, objective, {"student": 2, "lm0": 3})
    model.teacher_maps["lm0"].weight.data = torch.from_numpy(matrix)
    targets = {"labels": labels, "same.gnn0": gnn, "mapped.lm0": lm}
    terms = model(torch.from_numpy(student), {name: torch.from_numpy(column) for name, column in targets.items()})
    assert float(sum(total / count for total, count in terms.values())) == pytest.approx(
        np.mean((student - labels) ** 2)  # (1 + 1 + 1 + 49) / 4
        + 0.1 * np.mean((student - gnn) ** 2)  # (0.25 + 0 + 0 + 1) / 4
        + 0.1 * np.mean((student - [[1.0, 1.5], [-3.0, 1.0]]) ** 2)  # (1 + 0.25 + 25 + 4) / 4
    )
    assert float(terms["mapped.lm0"][0]) == pytest.approx(0.1 * 30.25)
    assert all(parameter.requires_grad for parameter in model.teacher_maps.parameters())


def test_a_molecule_that_the_language_teacher_has_not_read_is_no_part_of_the_mapped_term() -> None:
    labels = np.zeros((2, 2), dtype=np.float32)
    model = NetworkWithLoss(Echo, Scale.of(labels, NUMBERS), Objective(mapped={"lm0": 1.0}), {"student": 2, "lm0": 1})
    nn.init.zeros_(model.teacher_maps["lm0"].weight)
    targets = {"labels": torch.zeros(2, 2), "mapped.lm0": torch.tensor([[1.0], [torch.nan]])}
    total, count = model(torch.tensor([[3.0, 4.0], [50.0, 60.0]]), targets)["mapped.lm0"]
    assert (float(total), int(count)) == (25.0, 2)
