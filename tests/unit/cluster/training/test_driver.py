"""How fits are spread over workers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster.training.driver import (
    LEAST_SHARED,
    Arrangement,
    FitProgress,
    FitTally,
    TrainResources,
    Watch,
    _in_turn,
    arranged,
    fit_all,
)
from cluster.training.fit import Fit, FitSet, Schedule
from cluster.training.independent import _shares
from cluster.training.results import note_share

EPOCHS = 10


def fit_of(molecules: int) -> Fit:
    return Fit(
        id="fit",
        name="fit",
        build=lambda: None,
        inputs="vectors",
        targets={"labels": "labels"},
        train=np.arange(molecules),
        valid=np.arange(2),
        score=lambda truth, prediction: 0.0,
        schedule=Schedule(epochs=EPOCHS),
    )


LONG, SHORT = fit_of(LEAST_SHARED // EPOCHS), fit_of(LEAST_SHARED // EPOCHS - 1)
THREE = TrainResources(workers=3)


def test_workers_share_a_fit_that_is_worth_the_start_of_a_group() -> None:
    assert arranged([LONG, SHORT], THREE) == Arrangement(True, 3)
    assert arranged([SHORT, SHORT], THREE) == Arrangement(False, 2)
    assert arranged([LONG, LONG, LONG], THREE) == Arrangement(False, 3)
    assert arranged([SHORT], replace(THREE, together=True)) == Arrangement(True, 3)
    assert arranged([LONG], replace(THREE, together=False)) == Arrangement(False, 1)


def test_a_fit_whose_gradients_cost_more_than_they_bring_stays_with_one_worker() -> None:
    alone = replace(LONG, shareable=False)
    assert arranged([alone], THREE) == Arrangement(False, 1)
    assert arranged([alone, LONG], THREE) == Arrangement(False, 2)


def test_fits_stand_side_by_side_on_a_gpu_each_with_a_core() -> None:
    gpus = TrainResources(workers=2, cpus=8, gpus=1)
    assert arranged([LONG] * 20, gpus) == Arrangement(False, 8, 2, 0.25)
    assert arranged([LONG] * 5, gpus) == Arrangement(False, 5, 2, 1 / 3)
    assert arranged([LONG] * 2, gpus) == Arrangement(False, 2, 8, 1.0)
    assert arranged([LONG] * 20, replace(gpus, cpus=2)) == Arrangement(False, 4, 1, 0.5)
    assert arranged([LONG], gpus) == Arrangement(True, 2, 8, 1.0)
    assert arranged([LONG] * 20, replace(gpus, gpus=0)) == Arrangement(False, 2, 8)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_every_fit_is_dealt_to_one_task(on_gpu: bool) -> None:
    shares = _shares([SHORT] * 5, 2, on_gpu=on_gpu)
    assert len(shares) == (2 if on_gpu else 5)
    assert sorted(place for share in shares for place in share.places) == [0, 1, 2, 3, 4]


def finish(folder: Path, fit: str, seconds: float = 1.0) -> None:
    (folder / fit).mkdir()
    (folder / fit / "outcome.json").write_text(json.dumps({"seconds": seconds}))


def test_progress_is_that_of_all_molecules_of_all_epochs(tmp_path: Path) -> None:
    fits = [replace(fit_of(10), id="one"), replace(fit_of(30), id="other")]
    note_share(tmp_path, "other", 0.25)
    watch = Watch(tmp_path, fits)
    assert watch.look() == FitProgress(0, 2, looked_at=75, to_look_at=400, rate=0.0, share=75 / 400)
    finish(tmp_path, "one")
    note_share(tmp_path, "other", 0.5)
    now = watch.look()
    assert (now.done, now.looked_at) == (1, 250)
    assert now.rate > 0 and now.seconds_left == pytest.approx(150 / now.rate)


def test_what_is_left_is_told_by_what_a_fit_of_the_same_name_took(tmp_path: Path) -> None:
    cheap = [replace(fit_of(1000), id=f"cheap {number}", name="cheap") for number in range(2)]
    dear = [replace(fit_of(10), id=f"dear {number}", name="dear") for number in range(3)]
    watch = Watch(tmp_path, [*cheap, *dear])
    finish(tmp_path, "cheap 0", seconds=1.0)
    assert watch.look().share == pytest.approx(10_000 / 20_300)  # nothing else is known yet
    finish(tmp_path, "dear 0", seconds=10.0)
    now = watch.look()
    assert now.share == pytest.approx(11 / 32)
    assert now.seconds_left is not None and now.looked_at == 10_100
    finish(tmp_path, "cheap 1", seconds=3.0)
    assert watch.look().share == pytest.approx(14 / 34)


def test_what_is_left_is_not_told_out_of_the_first_steps(tmp_path: Path) -> None:
    watch = Watch(tmp_path, [fit_of(100)])
    note_share(tmp_path, "fit", 0.01)
    assert watch.look().seconds_left is None
    note_share(tmp_path, "fit", 0.05)
    assert watch.look().seconds_left is not None


def test_the_first_fit_of_each_name_comes_before_the_second_of_any() -> None:
    fits = [replace(fit_of(10), id=f"{name}{number}", name=name) for name in "ab" for number in range(3)]
    assert [fit.id for fit in _in_turn(fits)] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_progress_of_what_goes_on_from_an_older_checkpoint_counts_from_there(tmp_path: Path) -> None:
    note_share(tmp_path, "fit", 0.5)
    watch = Watch(tmp_path, [fit_of(10)])
    note_share(tmp_path, "fit", 0.4)
    assert watch.look().rate == 0.0
    note_share(tmp_path, "fit", 0.6)
    assert watch.look().looked_at == 60 and watch.look().rate > 0


def test_fits_that_were_done_before_are_told_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(tmp_path, "fit")
    monkeypatch.setattr("cluster.training.driver.read_outcome", lambda folder, fit: fit)
    told: list[FitProgress] = []
    fit_all(FitSet(fits=[fit_of(10)], inputs={}, columns={}), tmp_path, THREE, told.append)
    fit_all(FitSet(fits=[], inputs={}, columns={}), tmp_path, THREE, told.append)  # of which there is nothing to tell
    assert [(now.done, now.all, now.looked_at) for now in told] == [(1, 1, 100)]


def test_batches_of_fits_in_a_row_are_one_count_and_each_fit_counts_once() -> None:
    tally, first, second = FitTally(), frozenset("abc"), frozenset("cde")
    told = [
        tally.add(FitProgress(done, 3, ids=ids))
        for ids, done in [(first, 0), (first, 2), (first, 3), (second, 1), (second, 3), (first, 3)]
    ]
    assert [(now.done, now.all) for now in told] == [(0, 3), (2, 3), (3, 3), (3, 5), (5, 5), (5, 5)]
    searching = FitProgress(1, 7)
    assert tally.add(searching) is searching
