"""Training on real Ray Train workers."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem.Crippen import MolLogP

from cluster.epochs import batches, deal
from cluster.ray_session import RaySession
from cluster.training import Campaign, Fit, Schedule, Trainers, TrainingError, fit_all
from distill.data.dataset import Target
from distill.learn.objective import Objective, Scale, learner
from teacher.gnn import gin
from teacher.graphs import Graphs
from teacher.inputs import Matrix
from teacher.tiny import library

MOLECULES = 120


def rmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    return -float(np.sqrt(np.mean((truth - prediction) ** 2)))


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    """Learn logP from graphs, without dropout."""
    mols = [mol for smiles in library.read(None)[:200] if (mol := Chem.MolFromSmiles(smiles))][:MOLECULES]
    labels = np.array([[MolLogP(mol)] for mol in mols], dtype=np.float32)
    labels[5] = np.nan
    scale = Scale.of(labels[:90], [Target("logP", "regression")])
    network = functools.partial(gin, 1, width=16, layers=2, dropout=0.0)
    fit = Fit(
        id="logp",
        name="logP",
        build=functools.partial(learner, network, scale, Objective(), {}),
        inputs="graphs",
        targets={"labels": "labels"},
        train=np.arange(90),
        valid=np.arange(90, 105),
        score=rmse,
        schedule=Schedule(epochs=4, batch_size=32, learning_rate=3e-3),
    )
    return Campaign(fits=[fit], inputs={"graphs": Graphs.of(mols)}, columns={"labels": labels})


def test_each_molecule_is_dealt_once_an_epoch_whatever_the_number_of_workers(campaign: Campaign) -> None:
    (fit,) = campaign.fits
    for workers in (1, 2, 3):
        seen = [rows[shards % workers == worker] for worker in range(workers) for rows, shards in batches(fit, epoch=1)]
        assert sorted(np.concatenate(seen)) == sorted(fit.train)
    of_shard = dict(zip(*map(np.ndarray.tolist, deal(fit)), strict=True))
    for rows, shards in batches(fit, epoch=2):
        assert len(rows) <= 32 and len(set(shards.tolist())) == len(rows)
        assert [of_shard[row] for row in rows.tolist()] == shards.tolist()


def test_two_workers_learn_what_one_learns(ray_here: RaySession, campaign: Campaign, tmp_path: Path) -> None:
    alone, together = (
        fit_all(campaign, tmp_path / str(workers), Trainers(workers=workers, together=True))[0] for workers in (1, 2)
    )
    assert [epoch["loss"] for epoch in alone.history] == pytest.approx(
        [epoch["loss"] for epoch in together.history], rel=1e-4
    )
    assert alone.history[-1]["loss"] < alone.history[0]["loss"]
    assert np.allclose(alone.prediction, together.prediction, atol=1e-3)
    assert alone.prediction.shape == (MOLECULES, 1) and alone.representation.shape == (MOLECULES, 16)


def test_what_is_done_is_not_done_again(ray_here: RaySession, campaign: Campaign, tmp_path: Path) -> None:
    first = fit_all(campaign, tmp_path, Trainers())
    shown = []
    again = fit_all(campaign, tmp_path, Trainers(), shown.append)
    assert again[0].seconds == first[0].seconds and np.array_equal(again[0].prediction, first[0].prediction)
    assert not (tmp_path / "logp.pt").exists()


class Fragile(torch.nn.Linear):
    """Kills its worker in the middle of an epoch, so many times."""

    def __init__(self, tombs: Path, deaths: int) -> None:
        super().__init__(2, 1)
        self._tombs, self._deaths, self._calls = tombs, deaths, 0

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self._calls += 1
        died = len(list(self._tombs.iterdir()))
        if self._calls == 7 and died < self._deaths:
            (self._tombs / str(died)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(vectors), vectors


def fragile(tmp_path: Path, deaths: int) -> Campaign:
    (tmp_path / "tombs").mkdir()
    values = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    labels = values.sum(axis=1, keepdims=True)
    scale = Scale.of(labels, [Target("sum", "regression")])
    build = functools.partial(Fragile, tmp_path / "tombs", deaths)
    fits = [
        Fit(
            id=f"fragile{seed}",
            name="fragile",
            build=functools.partial(learner, build, scale, Objective(), {}),
            inputs="vectors",
            targets={"labels": "labels"},
            train=np.arange(30),
            valid=np.arange(30, 40),
            score=rmse,
            schedule=Schedule(epochs=5, batch_size=10),
            seed=seed,
        )
        for seed in range(2)
    ]
    return Campaign(fits=fits, inputs={"vectors": Matrix(values)}, columns={"labels": labels})


def test_training_goes_on_after_a_killed_worker(ray_here: RaySession, tmp_path: Path) -> None:
    outcomes = fit_all(fragile(tmp_path, deaths=1), tmp_path / "fits", Trainers())
    assert [outcome.epochs for outcome in outcomes] == [5, 5]
    assert [len(outcome.history) for outcome in outcomes] == [5, 5]


def test_workers_that_keep_dying_end_in_one_sentence(ray_here: RaySession, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the same command goes on") as error:
        fit_all(fragile(tmp_path, deaths=99), tmp_path / "fits", Trainers())
    assert "\n" not in str(error.value)
