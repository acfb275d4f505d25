"""The training loop in this process: how molecules are dealt to steps, and which epoch is kept."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem
from torch import nn

from cluster.training.driver import TrainResources, arranged
from cluster.training.examples import HeldExamples
from cluster.training.fit import Fit, Outcome, Schedule
from cluster.training.group import ProcessGroup, shard_of
from cluster.training.loop import DivergenceError, Training
from cluster.training.reporter import Reporter
from cluster.training.results import read_outcome
from cluster.training.shards import assign_shards, batches, most_workers, steps
from distill.data.dataset import Target
from distill.learn.objective import NetworkWithLoss, Objective, Scale
from distill.learn.recipes import RECIPES
from teacher.nn.graphs import Graphs, Paired
from teacher.nn.inputs import Inputs, Matrix, TokenStates
from teacher.nn.library import LibraryInputs
from teacher.tiny import library

FEATURES = 12
BATCH = 16


def rmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    return -float(np.sqrt(np.mean((truth - prediction) ** 2)))


def fit_of(molecules: int, batch_size: int | None, build: Callable[[], Any] = nn.Identity, **changes: Any) -> Fit:
    schedule = Schedule(epochs=2, batch_size=batch_size)
    given = {"train": np.arange(molecules), "valid": np.arange(molecules), "score": rmse, "schedule": schedule}
    named = {"id": "fit", "name": "fit", "inputs": "inputs", "targets": {"labels": "labels"}}
    return Fit(**{**named, "build": build, **given, **changes})


def trained(fit: Fit, inputs: Inputs, labels: np.ndarray, folder: Path) -> Outcome:
    alone = ProcessGroup(0, 1, "cpu")
    Training(fit, shard_of([fit], {"inputs": inputs}, {"labels": labels}, alone), alone, folder).run()
    return read_outcome(folder, fit.id)


def test_a_step_of_all_molecules_is_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    of_rows = Matrix.batch
    monkeypatch.setattr(Matrix, "batch", lambda self, rows: asked.append(len(rows)) or of_rows(self, rows))
    fit, alone = fit_of(20, None), ProcessGroup(0, 1, "cpu")
    values, labels = Matrix(np.arange(20, dtype=np.float32)[:, None]), np.arange(20, dtype=np.float32)[:, None]
    steps_of = HeldExamples(fit, shard_of([fit], {"inputs": values}, {"labels": labels}, alone), alone)
    (first,), (second,) = steps_of.of_epoch(0, 0), steps_of.of_epoch(1, 0)
    assert asked == [20]
    assert torch.equal(first[0], second[0]) and torch.equal(first[1]["labels"], first[0])


@pytest.mark.parametrize("batch_size", [3, 8, 32, 64, None])
def test_no_worker_ever_has_fewer_than_two_molecules_and_none_is_dropped(batch_size: int | None) -> None:
    for molecules in range(2, 200):
        fit = fit_of(molecules, batch_size)
        dealt = list(batches(fit, epoch=1))
        assert sorted(np.concatenate([rows for rows, _ in dealt])) == list(range(molecules))
        for workers in range(1, most_workers(fit) + 1):
            fewest = min(np.bincount(shards % workers, minlength=workers).min() for _, shards in dealt)
            assert fewest >= 2, (molecules, workers)


def test_steps_are_close_to_the_batch_size() -> None:
    assert [steps(fit_of(molecules, 64)) for molecules in (2, 64, 65, 95, 96, 129, 160)] == [1, 1, 1, 1, 2, 2, 3]
    assert [len(rows) for rows, _ in batches(fit_of(129, 64), epoch=0)] == [64, 65]
    assert [len(rows) for rows, _ in batches(fit_of(160, 64), epoch=0)] == [64, 64, 32]
    assert max(len(rows) for rows, _ in batches(fit_of(10_000, None), epoch=0)) == 10_000


@pytest.mark.parametrize(
    ("molecules", "fits", "resources", "expected"),
    [
        (1000, 1, TrainResources(workers=4, together=True), (4, True)),
        (1000, 6, TrainResources(workers=4), (4, False)),
        (1000, 1, TrainResources(workers=64, together=True), (20, True)),
        (5, 1, TrainResources(workers=4, together=True), (2, True)),
        (3, 6, TrainResources(workers=16), (6, False)),
        (3, 2, TrainResources(workers=4, together=True), (1, True)),
        (1000, 2, TrainResources(workers=4, together=False), (2, False)),
    ],
)
def test_no_more_workers_share_a_fit_than_its_steps_allow(
    molecules: int, fits: int, resources: TrainResources, expected: tuple[int, bool]
) -> None:
    plan = arranged([fit_of(molecules, 64)] * fits, resources)
    assert (plan.workers, plan.together) == expected


def test_a_molecule_keeps_its_shard_in_every_epoch() -> None:
    fit = fit_of(129, 64)
    of_shard = dict(zip(*map(np.ndarray.tolist, assign_shards(fit)), strict=True))
    for epoch in range(3):
        for rows, shards in batches(fit, epoch):
            assert [of_shard[row] for row in rows.tolist()] == shards.tolist()


@pytest.fixture(scope="module")
def graphs() -> Graphs:
    """Molecules, the smallest of which have one atom."""
    nci = [mol for smiles in library.read(None)[:80] if (mol := Chem.MolFromSmiles(smiles))][: 2 * BATCH]
    return Graphs.of([Chem.MolFromSmiles("C"), *nci])


def over_library(features: np.ndarray) -> LibraryInputs:
    """Return molecules, each of which has the two before it as neighbours."""
    rows = np.arange(len(features))
    return LibraryInputs(
        features=features,
        texts=np.ones((len(rows), 2), dtype=np.float32),
        told=rows % 2 == 0,
        neighbours=np.stack([rows - 1, rows - 2], axis=1).clip(min=-1),
        similarity=np.ones((len(rows), 2), dtype=np.float32),
        itself=rows,
        depth=2,
        rows=rows,
    )


@pytest.mark.parametrize("molecules", [2, 3, BATCH + 1, 2 * BATCH + 1])
@pytest.mark.parametrize("name", [name for name in RECIPES if name != "lm-fine-tuned"])
def test_every_network_is_trained_where_one_molecule_is_left_over(
    name: str, molecules: int, graphs: Graphs, tmp_path: Path
) -> None:
    known = RECIPES[name]
    vectors = Matrix(np.random.default_rng(0).normal(size=(len(graphs), FEATURES)).astype(np.float32))
    states = TokenStates(vectors.values.astype(np.float16), np.arange(len(graphs) + 1))
    guesses = Matrix(np.ones((len(graphs), 3), dtype=np.float32))
    inputs: Inputs = {
        "graphs": graphs,
        "graphs and states": Paired(graphs, states),
        "graphs, states and guesses": Paired(graphs, states, guesses),
        "library graph": over_library(vectors.values),
    }.get(known.reads, vectors)
    labels = np.arange(len(graphs), dtype=np.float32)[:, None]
    settings = {**known.settings, **({} if known.reads == "graphs" else {"features": FEATURES})}
    settings |= {"text_features": 2} if known.reads == "library graph" else {}
    if "width" in settings:
        settings["width"] = 8
    network = functools.partial(known.build, 1, **settings)
    build = functools.partial(
        NetworkWithLoss, network, Scale.of(labels, [Target("size", "regression")]), Objective(), {}
    )
    outcome = trained(fit_of(molecules, known.schedule.batch_size and BATCH, build), inputs, labels, tmp_path)
    assert outcome.epochs == 2
    assert np.isfinite(outcome.prediction).all()


@pytest.mark.parametrize(("seconds", "epochs"), [(-1.0, [1, 2]), (math.inf, [])])
def test_epochs_are_reported_when_it_is_time(
    seconds: float, epochs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.training.reporter.REPORT_SECONDS", seconds)
    reported: list[dict[str, Any]] = []
    alone = ProcessGroup(0, 1, "cpu")
    fit = fit_of(8, 4, lambda: Scripted([3.0, 3.0, 2.0, 2.0]))
    vectors = Matrix(np.zeros((8, 1), dtype=np.float32))
    shard = shard_of([fit], {"inputs": vectors}, {"labels": np.zeros((8, 1), dtype=np.float32)}, alone)
    Training(fit, shard, alone, tmp_path, Reporter(reported.append)).run()
    assert [each["epoch"] for each in reported] == epochs
    assert all(each["fit"] == "fit" and {"task", "loss", "score"} <= each.keys() for each in reported)


class Scripted(nn.Module):
    """Has a loss of its own for each epoch, of one step each."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self._losses = iter(losses)

    def forward(self, batch: torch.Tensor, _targets: dict[str, torch.Tensor]) -> dict[str, tuple]:
        count = torch.tensor(float(len(batch)))
        return {"task": (next(self._losses) * count + 0 * self.bias.sum(), count)}

    def predict(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return batch, batch

    def truth(self, labels: torch.Tensor) -> torch.Tensor:
        return labels


def scripted(losses: list[float], score: Callable[..., float]) -> Fit:
    schedule = Schedule(epochs=len(losses), batch_size=None)
    return fit_of(4, None, functools.partial(Scripted, losses), score=score, schedule=schedule)


FOUR = np.arange(4, dtype=np.float32)[:, None]


def test_where_there_is_no_score_the_loss_chooses_the_epoch(tmp_path: Path) -> None:
    outcome = trained(scripted([3.0, 1.0, 2.0], lambda *_: math.nan), Matrix(FOUR), FOUR, tmp_path)
    assert (outcome.best_epoch, outcome.score) == (2, pytest.approx(-1.0))


def test_a_fit_that_diverges_keeps_its_best_epoch(tmp_path: Path) -> None:
    outcome = trained(scripted([3.0, math.nan, 2.0], rmse), Matrix(FOUR), FOUR, tmp_path)
    assert (outcome.best_epoch, len(outcome.history)) == (1, 1)


class Counting(nn.Module):
    """Says how many steps it has taken, and fails in one of them."""

    def __init__(self, fails: int = 0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("steps", torch.zeros(1))
        self._fails = fails

    def forward(self, batch: torch.Tensor, _targets: dict[str, torch.Tensor]) -> dict[str, tuple]:
        self.steps += 1
        if self.steps == self._fails:
            raise InterruptedError
        return {"task": (0 * self.bias.sum(), torch.tensor(float(len(batch))))}

    def predict(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.steps.expand(len(batch), 1), batch

    def truth(self, labels: torch.Tensor) -> torch.Tensor:
        return labels


def counting(averaging: float, fails: int = 0) -> Fit:
    """Return a fit that is best where its network says 2."""
    schedule = Schedule(epochs=4, batch_size=None, averaging=averaging)
    return fit_of(
        4,
        None,
        functools.partial(Counting, fails),
        score=lambda _, prediction: -float(abs(prediction - 2).mean()),
        schedule=schedule,
    )


@pytest.mark.parametrize(("averaging", "epoch"), [(0.0, 2), (0.25, 2), (1.0, 3)])
def test_weights_are_averaged_before_they_are_judged_and_kept(averaging: float, epoch: int, tmp_path: Path) -> None:
    outcome = trained(counting(averaging), Matrix(FOUR), FOUR, tmp_path)
    assert (outcome.best_epoch, outcome.prediction.tolist()) == (epoch, [[2.0]] * 4)  # 3: the mean of 1, 2 and 3


def test_an_average_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.training.loop.CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(InterruptedError):
        trained(counting(1.0, fails=3), Matrix(FOUR), FOUR, tmp_path)
    outcome = trained(counting(1.0), Matrix(FOUR), FOUR, tmp_path)
    assert (outcome.best_epoch, outcome.score) == (3, 0.0)


def test_a_fit_that_never_was_finite_is_told(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match="no finite number from its first epoch on"):
        trained(scripted([math.inf, 1.0], rmse), Matrix(FOUR), FOUR, tmp_path)
