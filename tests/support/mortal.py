"""Trains one fit undisturbed, and again in lives that end by SIGKILL: `python -m tests.support.mortal FOLDER SEED`.

torch is loaded once, and each life is a fork of this process. All but the last but one die at a random step; that one
dies in the middle of writing a checkpoint.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cluster.training import loop
from cluster.training.fit import Fit, Schedule
from cluster.training.group import ProcessGroup, shard_of
from distill.data.dataset import Target
from distill.learn.objective import NetworkWithLoss, Objective, Scale
from teacher.nn.inputs import Matrix
from teacher.nn.mlp import MLP
from tests.support.streams import MemoryStream

DEATHS = 5
LABELLED, STREAMED, FEATURES = 13, 60, 4


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    loop.CHECKPOINT_SECONDS, loop.STEPS_BETWEEN_LOOKS = -1.0, 1
    chance = random.Random(seed)
    assert live(folder / "undisturbed", lambda: None) == 0
    for _ in range(DEATHS - 1):
        step = chance.randrange(2, 7)
        assert live(folder / "killed", lambda step=step: die_at(step)) == -signal.SIGKILL  # type: ignore[misc]
    assert live(folder / "killed", lambda: die_while_writing(chance.randrange(2, 4))) == -signal.SIGKILL
    assert live(folder / "killed", lambda: None) == 0


def live(folder: Path, prepare: Callable[[], None]) -> int:
    """Train in a process of its own, and return how it ended: its status, or less the signal."""
    folder.mkdir(exist_ok=True)
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    torch.set_num_threads(1)
    prepare()
    loop.Training(*fit(), ProcessGroup(0, 1, "cpu"), folder).run()
    os._exit(0)


def die_at(step: int) -> None:
    """Let this process die at a step of its life."""
    descend, steps = loop.Training._descend, iter(range(step))

    def dying(self: loop.Training, terms: Any, number: int) -> None:
        if next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        descend(self, terms, number)

    loop.Training._descend = dying  # type: ignore[method-assign]


def die_while_writing(checkpoint: int) -> None:
    """Let this process die in the middle of a checkpoint, counted from 1."""
    save, checkpoints = torch.save, iter(range(checkpoint - 1))

    def dying(state: Any, file: Any) -> None:
        if next(checkpoints, None) is None:
            file.write(b"PK")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        save(state, file)

    torch.save = dying


def fit() -> tuple[Fit, Any]:
    """Return a fit with dropout, beside a stream, of three epochs of ten steps, and its data."""
    values = np.random.default_rng(0).normal(size=(LABELLED + STREAMED, FEATURES)).astype(np.float32)
    labels = values[:LABELLED, 1:2]
    columns = {"labels": labels, "soft": np.full((LABELLED, 1), np.nan, dtype=np.float32)}
    unknown = np.full((STREAMED, 1), np.nan, dtype=np.float32)
    stream = MemoryStream(Matrix(values[LABELLED:]), {"labels": unknown, "soft.gnn": values[LABELLED:, 1:2]}, 11)
    network = functools.partial(MLP, 1, features=FEATURES, width=8, layers=1, dropout=0.3)
    scale, objective = Scale.of(labels, [Target("y", "regression")]), Objective(soft={"gnn": 1.0})
    learned = Fit(
        id="fit",
        name="fit",
        build=functools.partial(NetworkWithLoss, network, scale, objective, {}),
        inputs="inputs",
        targets={"labels": "labels", "soft.gnn": "soft"},
        train=np.arange(LABELLED - 3),
        valid=np.arange(LABELLED - 3, LABELLED),
        score=lambda truth, prediction: -float(np.square(truth - prediction).mean()),
        schedule=Schedule(epochs=3, batch_size=8, learning_rate=1e-2, averaging=0.5),
        stream=stream,
    )
    inputs = {"inputs": Matrix(values[:LABELLED])}
    return learned, shard_of([learned], inputs, columns, ProcessGroup(0, 1, "cpu"))


if __name__ == "__main__":
    main()
