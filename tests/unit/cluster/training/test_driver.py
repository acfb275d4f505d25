"""How fits are spread over workers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cluster.training.driver import LEAST_SHARED, TrainResources, arranged
from cluster.training.fit import Fit, Schedule
from cluster.training.independent import _shares

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
    assert arranged([LONG, SHORT], THREE) == (3, True)
    assert arranged([SHORT, SHORT], THREE) == (2, False)
    assert arranged([LONG, LONG, LONG], THREE) == (3, False)
    assert arranged([SHORT], replace(THREE, together=True)) == (3, True)
    assert arranged([LONG], replace(THREE, together=False)) == (1, False)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_every_fit_is_dealt_to_one_task(on_gpu: bool) -> None:
    shares = _shares([SHORT] * 5, 2, on_gpu=on_gpu)
    assert len(shares) == (2 if on_gpu else 5)
    assert sorted(place for share in shares for place in share.places) == [0, 1, 2, 3, 4]
