"""How far predictions are to be trusted: intervals that hold what they promise, calibrated classes, a domain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rdkit.Chem import MolFromSmiles
from scipy.special import expit

from distill.features.neighbours import Neighbours, packed_of
from distill.models.doubt import BINS, LEVEL, Doubt
from teacher.tiny import library

CHAINS = packed_of([MolFromSmiles("C" * length + "O") for length in range(1, 41)])
RINGS = packed_of([MolFromSmiles(f"c1ccc2c(c1){'C' * length}N2") for length in range(2, 10)])


def similarity(fingerprints: np.ndarray) -> np.ndarray:
    return Neighbours.of(CHAINS).nearest(fingerprints)[0]


def doubt_of(errors: np.ndarray, fingerprints: np.ndarray, kind: str = "regression") -> Doubt:
    """Learn from molecules whose labels are 0 and whose predictions are wrong by so much."""
    truth = np.zeros((len(errors), 1), np.float32)
    return Doubt.of(kind, truth, errors[:, None].astype(np.float32), fingerprints, CHAINS)


def test_an_interval_is_the_error_that_nine_of_ten_further_molecules_stay_below() -> None:
    errors = np.arange(1, 20) / 10.0  # 19 of them: the 18th is the quantile with one molecule more
    doubt = doubt_of(errors, CHAINS[:19])
    assert doubt.half == [[pytest.approx(1.8)]]
    assert doubt.half_widths(np.array([0.1, 0.9])).tolist() == [[pytest.approx(1.8)]] * 2


def test_too_few_labels_tell_no_interval() -> None:
    assert doubt_of(np.ones(8), CHAINS[:8]).half == [[None]]
    assert doubt_of(np.ones(9), CHAINS[:9]).half == [[1.0]]
    assert math.isnan(doubt_of(np.ones(8), CHAINS[:8]).half_widths(np.array([0.5]))[0, 0])


def test_a_target_with_few_labels_has_one_interval_where_another_has_three() -> None:
    fingerprints = np.concatenate([CHAINS, CHAINS, *[RINGS] * 20])[:150]
    truth = np.zeros((150, 2), np.float32)
    truth[:, 1] = np.nan
    truth[::6, 1] = 0.0  # 25 labels
    errors = np.random.default_rng(0).normal(size=(150, 2)).astype(np.float32)
    half = Doubt.of("regression", truth, errors, fingerprints, CHAINS).half
    assert len(half) == BINS and len({often for often, _ in half}) == BINS
    assert [few for _, few in half] == pytest.approx([np.sort(np.abs(errors[::6, 1]))[23]] * BINS)


def test_molecules_without_a_label_make_no_bins() -> None:
    errors, fingerprints = np.arange(1, 41) / 10, np.concatenate([CHAINS, CHAINS])[:40]
    alone = doubt_of(errors, fingerprints)
    truth = np.concatenate([np.zeros((40, 1)), np.full((200, 1), np.nan)]).astype(np.float32)
    said = np.concatenate([errors, np.zeros(200)])[:, None].astype(np.float32)
    more = np.concatenate([fingerprints, *[RINGS] * 40])[:240]
    assert Doubt.of("regression", truth, said, more, CHAINS) == alone


def test_intervals_cover_what_they_promise() -> None:
    chance = np.random.default_rng(0)
    molecules = np.concatenate([CHAINS, CHAINS])[:60]
    covered = []
    for _ in range(200):
        held_out, further = chance.standard_t(3, size=(2, 60))
        half = doubt_of(held_out, molecules).half_widths(similarity(molecules))
        covered.append((np.abs(further) <= half[:, 0]).mean())
    assert LEVEL - 0.01 < np.mean(covered) < LEVEL + 0.02


def test_molecules_unlike_those_of_the_training_have_the_wider_intervals() -> None:
    fingerprints = np.concatenate([CHAINS, *[RINGS] * 5])
    errors = np.array([0.1] * len(CHAINS) + [2.0] * len(RINGS) * 5)
    doubt = doubt_of(errors, fingerprints)
    wide, narrow = doubt.half_widths(np.array([0.05, 1.0]))[:, 0]
    assert (wide, narrow) == (pytest.approx(2.0), pytest.approx(0.1))


def test_probabilities_become_those_that_come_true_and_rank_as_before() -> None:
    chance = np.random.default_rng(1)
    logits = chance.normal(size=2_000)
    truth = (chance.random(2_000) < expit(logits)).astype(np.float32)[:, None]
    overconfident = (4 * logits + 3)[:, None].astype(np.float32)
    doubt = Doubt.of("classification", truth, overconfident, np.tile(CHAINS, (50, 1)), CHAINS)
    calibrated = doubt.calibrated(overconfident)[:, 0]
    assert np.abs(expit(calibrated) - expit(logits)).max() < 0.06
    assert (np.argsort(calibrated, kind="stable") == np.argsort(overconfident[:, 0], kind="stable")).all()
    assert doubt.half == [[None]] * 3


@pytest.mark.parametrize("positives", [3, 100])
def test_a_model_that_is_wrong_or_hardly_judged_is_left_as_it_is(positives: int) -> None:
    truth = (np.arange(200) < positives).astype(np.float32)[:, None]
    logits = -4 * truth + 2  # the wrong way round
    doubt = Doubt.of("classification", truth, logits, np.tile(CHAINS, (5, 1)), CHAINS)
    assert doubt.platt == [None]
    assert (doubt.calibrated(logits) == logits).all()


def test_the_domain_holds_nearly_all_training_molecules_and_not_those_of_another_kind() -> None:
    doubt = doubt_of(np.ones(10), CHAINS[:10])
    inside = similarity(CHAINS[20:30]) >= doubt.domain
    outside = similarity(RINGS) >= doubt.domain
    assert inside.all() and not outside.any()


def test_nineteen_of_twenty_training_molecules_are_in_the_domain() -> None:
    read = (MolFromSmiles(smiles) for smiles in library.read(None)[:220])
    training = packed_of([mol for mol in read if mol][:200])
    doubt = Doubt.of("regression", np.zeros((9, 1), np.float32), np.ones((9, 1), np.float32), training[:9], training)
    known = Neighbours.of(training)
    to_others = [np.delete(known.similarity(row), place).max() for place, row in enumerate(training)]
    assert 0.95 <= np.mean(np.array(to_others) >= doubt.domain) <= 0.97


@pytest.mark.parametrize(("positives", "calibrated"), [(9, False), (10, True)])
def test_ten_of_each_class_are_enough_to_calibrate(positives: int, calibrated: bool) -> None:
    truth = (np.arange(40) < positives).astype(np.float32)[:, None]
    assert (Doubt.of("classification", truth, 4 * truth - 2, CHAINS, CHAINS).platt[0] is not None) == calibrated


def test_a_card_says_what_it_was_told_and_nothing_else() -> None:
    doubt = doubt_of(np.linspace(0, 1, 40), CHAINS)
    assert Doubt.read(doubt.facts(), targets=1) == doubt
    for damaged in ({**doubt.facts(), "half": [[1.0, 2.0]]}, {**doubt.facts(), "edges": [0.5, 0.6]}):
        with pytest.raises(ValueError, match="intervals of shape"):
            Doubt.read(damaged, targets=1)
