"""Training workers that are killed at random moments, in real streamed training on Ray.

    python -m tests.chaos.training [--kills 5] [--rows 20000] [--epochs 12] [--workers 1] [--seed 0] [--json]

Compounds of the NCI, as RDKit brings them, are prepared, and a network is pre-trained on them: undisturbed, and once
more while a worker of the training dies of SIGKILL so many times, at random seconds of its life. One worker does it
alone, a task of Ray's, and then two that share each step, a group of Ray Train's, one of which dies. Lives are drawn so
short that the training cannot end before all have died, and checkpoints are half a minute apart, as ever: let there be
so many epochs that an undisturbed training takes minutes, or every life ends before its first checkpoint.

The weights that come out are compared with those of the undisturbed training, and so are the losses of all epochs.
"""

from __future__ import annotations

import json
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Any

import numpy as np
import psutil
import typer

import gallon
from cluster.training.driver import LEAST_SHARED, MAX_FAILURES
from distill.library.pretrain import VALIDATED
from distill.models.model_store import WEIGHTS
from tests.chaos.scene import write_library
from tests.support.machine import machine

WORKERS = {1: "ray::fits", 2: "ray::RayTrainWorker"}  # as Ray calls the processes that train
LEAST_SECONDS = 1.0  # of a life
LOOK_SECONDS = 0.1
NETWORK = "gin"


def main(
    kills: Annotated[int, typer.Option(min=1, max=MAX_FAILURES, help="Of workers, in each training.")] = MAX_FAILURES,
    rows: Annotated[int, typer.Option(min=1_000, help="Of the library.")] = 20_000,
    epochs: Annotated[int, typer.Option(min=1, help="Through the library.")] = 12,
    workers: Annotated[int | None, typer.Option(min=1, max=2, help="That train; default: one, and then two.")] = None,
    seed: Annotated[int, typer.Option(help="Decides when which worker dies.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Pre-train a network undisturbed and with workers that die, by one worker and by two, and compare the weights."""
    chance, found = random.Random(seed), []
    with tempfile.TemporaryDirectory() as name, gallon.session():
        folder = Path(name)
        write_library(folder / "library.smi", rows)
        molecules = gallon.prepare(folder / "library.smi", out=folder / "prepared").manifest.molecules
        if workers != 1 and (molecules - VALIDATED) * epochs < LEAST_SHARED:
            raise typer.BadParameter(f"workers share no fit of fewer than {LEAST_SHARED:,} molecules in all epochs")
        for number in [workers] if workers else list(WORKERS):
            found.append(compared(folder, number, epochs, Killer(WORKERS[number], kills, chance)))
            typer.echo(json.dumps(found[-1]))
    if as_json:
        typer.echo(json.dumps({"rows": rows, "epochs": epochs, "seed": seed, "ways": found, "machine": machine()}))


def compared(folder: Path, workers: int, epochs: int, killer: Killer) -> dict[str, Any]:
    """Train undisturbed and with deaths; return how far both are apart."""
    settings: dict[str, Any] = {"teacher": NETWORK, "epochs": epochs, "workers": workers}
    names = [folder / f"{life}-{workers}" for life in ("undisturbed", "killed")]
    cards, seconds = [], []
    for out in names:
        begun = time.monotonic()
        with killer.at_work(cards[0].seconds) if cards else nullcontext():
            cards.append(gallon.pretrain(folder / "prepared", out=out, **settings).card)
        seconds.append(round(time.monotonic() - begun))
    one, other = (_weights(out) for out in names)
    losses = [np.array([epoch["loss"] for epoch in card.history]) for card in cards]
    return {
        "workers": workers,
        "killed_after_seconds": killer.done,
        "seconds": dict(zip(("undisturbed", "killed"), seconds, strict=True)),
        "same_weights_bit_by_bit": all(np.array_equal(one[name], other[name]) for name in one),
        "largest_difference_of_weights": max(float(np.abs(one[name] - other[name]).max()) for name in one),
        "largest_relative_difference_of_losses": float(np.abs(losses[1] / losses[0] - 1).max()),
        "same_epoch_kept": cards[0].best_epoch == cards[1].best_epoch,
    }


@dataclass
class Killer:
    """Kills workers of a training, each at a random second of its life, so many times.

    Attributes:
        title: how their processes' titles begin.
        kills: how many.
        chance: decides when, and which worker of several.
        done: how many seconds each that was killed had been seen.
    """

    title: str
    kills: int
    chance: random.Random
    done: list[float] = field(default_factory=list)

    @contextmanager
    def at_work(self, seconds: float) -> Iterator[None]:
        """Kill while the body runs, which would take so many seconds undisturbed and must last until all are killed."""
        over = Event()
        thread = Thread(target=self._work, args=(over, seconds / (self.kills + 1)))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert len(self.done) == self.kills, "the training ended before all were killed: let it have more epochs"

    def _work(self, over: Event, longest: float) -> None:
        seen: dict[psutil.Process, float] = {}
        dies_after = self.chance.uniform(LEAST_SECONDS, longest)
        while len(self.done) < self.kills and not over.wait(LOOK_SECONDS):
            now = time.monotonic()
            seen = {each: seen.get(each, now) for each in self._workers()}
            if seen and (lived := now - min(seen.values())) > dies_after:
                victim = self.chance.choice(list(seen))
                victim.send_signal(signal.SIGKILL)
                victim.wait()
                self.done.append(round(lived, 1))
                typer.echo(f"{len(self.done)} of {self.kills} killed, after {lived:.1f} s")
                dies_after, seen = self.chance.uniform(LEAST_SECONDS, longest), {}

    def _workers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                if process.cmdline()[:1] and process.cmdline()[0].startswith(self.title):
                    found.append(process)
            except psutil.Error:
                continue
        return found


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    found: dict[str, Any] = load_file(folder / WEIGHTS)
    return found


if __name__ == "__main__":
    typer.run(main)
