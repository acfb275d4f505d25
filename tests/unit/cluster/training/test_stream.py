"""Training on a stream beside labelled molecules, in this process."""

from __future__ import annotations

import functools
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from cluster.training import loop
from cluster.training.driver import LEAST_SHARED, Arrangement, TrainResources, arranged
from cluster.training.examples import StreamedExamples, examples_of
from cluster.training.fit import Fit, Schedule
from cluster.training.group import ProcessGroup, shard_of
from cluster.training.loop import Training
from cluster.training.results import read_outcome, share_done
from cluster.training.shards import most_workers, steps
from cluster.training.stream import pieces, steps_of
from distill.data.dataset import Target
from distill.learn.objective import NetworkWithLoss, Objective, Scale
from teacher.files import replacing
from teacher.nn.inputs import Matrix
from teacher.nn.mlp import MLP
from tests.support.streams import MemoryStream

LABELLED, FEATURES = 13, 4
ALONE = ProcessGroup(0, 1, "cpu")


def stream_of(molecules: int, window: int) -> MemoryStream:
    """Return molecules whose first feature is their number, from 1000 on; nobody knows their labels."""
    values = np.random.default_rng(1).normal(size=(molecules, FEATURES)).astype(np.float32)
    values[:, 0] = 1000 + np.arange(molecules)
    unknown = np.full((molecules, 1), np.nan, dtype=np.float32)
    return MemoryStream(Matrix(values), {"labels": unknown, "soft.gnn": values[:, 1:2]}, window)


def rmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    return -float(np.sqrt(np.mean((truth - prediction) ** 2)))


def held() -> tuple[Matrix, dict[str, np.ndarray]]:
    """Return the labelled molecules; the first feature of each is its number."""
    values = np.random.default_rng(0).normal(size=(LABELLED, FEATURES)).astype(np.float32)
    values[:, 0] = np.arange(LABELLED)
    return Matrix(values), {"labels": values[:, 1:2], "soft": np.full((LABELLED, 1), np.nan, dtype=np.float32)}


def fit_of(stream: MemoryStream, batch_size: int = 8, share: float = 0.25, **changes: Any) -> Fit:
    scale = Scale.of(held()[1]["labels"], [Target("y", "regression")])
    network = functools.partial(MLP, 1, features=FEATURES, width=8, layers=1, dropout=0.3)
    objective = Objective(soft={"gnn": 1.0})
    fit = Fit(
        id="fit",
        name="fit",
        build=functools.partial(NetworkWithLoss, network, scale, objective, {}),
        inputs="inputs",
        targets={"labels": "labels", "soft.gnn": "soft"},
        train=np.arange(LABELLED - 3),
        valid=np.arange(LABELLED - 3, LABELLED),
        score=rmse,
        schedule=Schedule(epochs=3, batch_size=batch_size, learning_rate=1e-2),
        stream=stream,
        labelled_share=share,
    )
    return replace(fit, **changes)


def seen(fit: Fit, epoch: int, first: int = 0, group: ProcessGroup = ALONE) -> list[list[int]]:
    """Return the numbers of the molecules of each step, labelled ones first."""
    inputs, columns = held()
    part = shard_of([fit], {"inputs": inputs}, columns, group)
    found = []
    for batch, targets in examples_of(fit, part, group).of_epoch(epoch, first):
        numbers = batch[:, 0].int().tolist()
        assert [number < 1000 for number in numbers] == (~torch.isnan(targets["labels"][:, 0])).tolist()
        found.append(numbers)
    return found


@pytest.mark.parametrize(("molecules", "window", "size"), [(50, 7, 6), (50, 50, 6), (51, 3, 20), (4, 2, 6), (9, 4, 6)])
def test_each_molecule_of_a_stream_is_in_one_step_of_an_epoch(molecules: int, window: int, size: int) -> None:
    stream = stream_of(molecules, window)
    taken = [
        [number for piece in step for number in piece.loaded[0].values[piece.rows, 0].astype(int).tolist()]
        for step in pieces(stream, size, [0, 0], 0)
    ]
    assert sorted(number for step in taken for number in step) == list(range(1000, 1000 + molecules))
    assert [len(step) for step in taken[:-1]] == [size] * (len(taken) - 1) and len(taken) == steps_of(stream, size)
    assert len(taken) == 1 or size / 2 <= len(taken[-1]) <= 1.5 * size
    assert [sorted(piece.places.tolist() for piece in step) for step in pieces(stream, size, [0, 0], 0)]


def test_an_epoch_that_is_taken_up_in_its_middle_goes_on_with_the_same_molecules() -> None:
    fit = fit_of(stream_of(90, 11))
    whole = seen(fit, epoch=1)
    for first in range(len(whole) + 1):
        assert seen(fit, epoch=1, first=first) == whole[first:]


def test_windows_that_are_over_are_not_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    load = MemoryStream._load
    monkeypatch.setattr(MemoryStream, "_load", lambda self, rows: loaded.append(len(rows)) or load(self, rows))
    list(pieces(stream_of(90, 10), 6, [0, 0], 12))
    assert len(loaded) == 2


def test_labelled_molecules_have_their_share_of_every_step_and_all_come_round() -> None:
    fit = fit_of(stream_of(90, 11), batch_size=8, share=0.25)
    taken = [step for epoch in range(3) for step in seen(fit, epoch)]
    assert all(sum(number < 1000 for number in step) == 2 for step in taken)
    labelled = [number for step in taken for number in step if number < 1000]
    for first in range(0, len(labelled) - 9, 10):
        assert sorted(labelled[first : first + 10]) == list(range(10))
    assert labelled[:10] != labelled[10:20]
    assert seen(fit, 0) != seen(fit, 1)


def test_labelled_molecules_are_shuffled_once_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled = list[int]()
    order = StreamedExamples._order
    monkeypatch.setattr(StreamedExamples, "_order", lambda self, number: shuffled.append(number) or order(self, number))
    fit = fit_of(stream_of(90, 11), batch_size=12)  # three labelled molecules a step, of ten
    inputs, columns = held()
    part = shard_of([fit], {"inputs": inputs}, columns, ALONE)
    examples = examples_of(fit, part, ALONE)
    taken = [batch[:, 0].int().tolist() for epoch in range(3) for batch, _ in examples.of_epoch(epoch, 0)]
    labelled = [number for step in taken for number in step if number < 1000]
    rounds = -(-len(labelled) // 10)
    assert shuffled == list(range(rounds)) and rounds > 3
    orders = [np.random.default_rng([fit.seed, number]).permutation(fit.train) for number in range(rounds)]
    assert labelled == np.concatenate(orders)[: len(labelled)].tolist()


@pytest.mark.parametrize("workers", [2, 3])
def test_a_step_has_the_same_molecules_however_many_workers_share_it(workers: int) -> None:
    fit = fit_of(stream_of(90, 11), batch_size=12)
    assert most_workers(fit) == 3
    parts = [seen(fit, 1, group=ProcessGroup(number, workers, "cpu")) for number in range(workers)]
    for whole, *mine in zip(seen(fit, 1), *parts, strict=True):
        assert sorted(number for part in mine for number in part) == sorted(whole)
        assert min(map(len, mine)) >= 2


def test_a_long_stream_is_worth_a_group_of_workers() -> None:
    two = TrainResources(workers=2)
    assert arranged([fit_of(stream_of(LEAST_SHARED, 100_000))], two) == Arrangement(True, 2)
    assert arranged([fit_of(stream_of(60, 11))], two) == Arrangement(False, 1)


class KilledError(Exception):
    """Stands for a worker that was killed."""


def test_a_fit_that_dies_in_the_middle_of_an_epoch_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = fit_of(stream_of(60, 11))
    inputs, columns = held()
    part = shard_of([fit], {"inputs": inputs}, columns, ALONE)
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    folder.mkdir()
    Training(fit, part, ALONE, undisturbed).run()
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(loop, "STEPS_BETWEEN_LOOKS", 2)
    assert steps(fit) == 10
    calls = []
    descend = Training._descend

    def dying(self: Training, terms: Any, step: int) -> None:
        if len(calls) in (5, 9, 17):
            calls.append(step)
            raise KilledError
        calls.append(step)
        descend(self, terms, step)

    monkeypatch.setattr(Training, "_descend", dying)
    killed_while_saving = ExitStack()
    killed_while_saving.enter_context(replacing(folder / "fit.pt")).touch()
    for done in (5, 8, 15):
        with pytest.raises(KilledError):
            Training(fit, part, ALONE, folder).run()
        assert share_done(folder, "fit") <= done / 30  # the note is old at most
    assert share_done(folder, "fit") > 0
    Training(fit, part, ALONE, folder).run()
    assert calls[:9] == [0, 1, 2, 3, 4, 5, 4, 5, 6]  # on from the last checkpoint, not from the epoch's first step
    assert [path.name for path in folder.iterdir()] == ["fit"]
    one, other = read_outcome(undisturbed, "fit"), read_outcome(folder, "fit")
    weights, again = load_file(one.weights), load_file(other.weights)
    assert all(np.allclose(weights[name], again[name], atol=1e-6) for name in weights)
    for first, second in zip(one.history, other.history, strict=True):
        assert first == pytest.approx(second, rel=1e-5)


def test_a_fit_that_goes_on_draws_the_next_numbers_of_each_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.Generator()  # in the place of a GPU's
    monkeypatch.setattr(loop, "generators_of", lambda _: [torch.default_generator, device])
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    fit = fit_of(stream_of(60, 11))
    inputs, columns = held()
    part = shard_of([fit], {"inputs": inputs}, columns, ALONE)
    drawn, killed = list[float](), list[int]()
    descend = Training._descend

    def drawing(self: Training, terms: Any, step: int) -> None:
        if step == steps(fit) and not killed:
            killed.append(step)
            raise KilledError
        drawn.append(torch.rand(1, generator=device).item())
        descend(self, terms, step)

    monkeypatch.setattr(Training, "_descend", drawing)
    device.manual_seed(1)
    with pytest.raises(KilledError):
        Training(fit, part, ALONE, tmp_path).run()
    device.manual_seed(1)
    Training(fit, part, ALONE, tmp_path).run()
    device.manual_seed(1)
    assert drawn == [torch.rand(1, generator=device).item() for _ in drawn]


def test_a_worker_that_is_killed_at_random_five_times_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    """Bit by bit, since all lives are of one machine, one thread and the same batches."""
    subprocess.run([sys.executable, "-m", "tests.support.mortal", str(tmp_path), "7"], check=True)
    one, other = (read_outcome(tmp_path / life, "fit") for life in ("undisturbed", "killed"))
    weights, again = load_file(one.weights), load_file(other.weights)
    assert weights.keys() == again.keys() and all(np.array_equal(weights[name], again[name]) for name in weights)
    assert one.history == other.history and one.best_epoch == other.best_epoch
    assert not (tmp_path / "killed" / "fit.pt").exists()
