"""What a student hears where there are several teachers, and where some of them are silent."""

from __future__ import annotations

import numpy as np
import pytest

from distill.data.splits import Split
from distill.learn.distillation import GALLON, Weights, targets_from
from distill.learn.teacher_outputs import TeacherOutputs
from distill.models.ensemble import consensus

MOLECULES = 30
NAN = float("nan")


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def outputs(teacher: str, prediction: np.ndarray, seed: int = 0) -> TeacherOutputs:
    representation = np.random.default_rng(seed).normal(size=(len(prediction), 4)).astype(np.float32)
    representation[np.isnan(prediction).all(axis=1)] = NAN
    return TeacherOutputs(
        teacher=teacher, prediction=prediction, representation=representation, fold=np.full(len(prediction), -1)
    )


@pytest.fixture
def parts() -> Split:
    rows = np.arange(MOLECULES)
    return Split(rows[:24], rows[24:27], rows[27:], kind="random", seed=0, chirality=None, sha256="")


def test_one_who_is_silent_does_not_silence_the_other() -> None:
    together = consensus([column(1, NAN, 3, NAN), column(NAN, 2, 5, NAN)], "regression")
    assert together[:, 0] == pytest.approx([1, 2, 4, NAN], nan_ok=True)


def test_classes_are_averaged_as_probabilities() -> None:
    sure, unsure = column(20.0), column(0.0)
    together = consensus([sure, unsure], "classification")
    assert 1 / (1 + np.exp(-together)) == pytest.approx(0.75, abs=1e-6)


def test_teachers_who_are_all_sure_leave_a_finite_logit() -> None:
    together = consensus([column(500.0, -500.0), column(500.0, -500.0)], "classification")
    assert np.isfinite(together).all()
    assert together[0, 0] == pytest.approx(-together[1, 0], rel=1e-3)


def test_each_molecule_that_somebody_speaks_of_is_learnt(parts: Split) -> None:
    values = np.arange(MOLECULES, dtype=np.float32)[:, None]
    few, many = values.copy(), values + 2
    few[3:] = NAN
    many[0] = NAN
    taught = targets_from([outputs("lm", few), outputs("mmf", many)], Weights(), parts, "regression")
    soft, _ = taught.soft["lm"]
    assert soft[:, 0] == pytest.approx([0, *(values[1:3, 0] + 1), *(values[3:, 0] + 2)])


def test_a_teacher_without_a_word_about_the_training_part_has_no_representations_to_follow(parts: Split) -> None:
    silent = np.full((MOLECULES, 1), NAN, dtype=np.float32)
    silent[27:] = 1
    taught = targets_from([outputs("lm", silent), outputs("dmpnn", silent + NAN)], Weights(), parts, "regression")
    assert not taught.hidden


def test_gallon_distills_labels_of_classes_and_representations_of_numbers_as_they_are(parts: Split) -> None:
    heard = [outputs("gallon-gcn", np.zeros((MOLECULES, 1), np.float32), 1), outputs("lm", column(*range(MOLECULES)))]
    of_classes = targets_from(heard, GALLON["classification"], parts, "classification")
    assert {role: weight for role, (_, weight) in of_classes.soft.items()} == {"gnn": 0.1, "lm": 0.1}
    assert not (of_classes.same or of_classes.mapped or of_classes.hidden) and of_classes.temperature == 1
    of_numbers = targets_from(heard, GALLON["regression"], parts, "regression")
    assert not (of_numbers.soft or of_numbers.hidden)
    (same, of_gnn), (mapped, of_lm) = of_numbers.same["gnn0"], of_numbers.mapped["lm0"]
    assert (of_gnn, of_lm) == (0.1, 0.1)
    assert same is heard[0].representation and mapped is heard[1].representation
