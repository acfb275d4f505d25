"""Many random faults on one library, counted: `python -m tests.chaos --faults 100 --json`."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cluster.annotation.annotator import MOST_LOSSES
from tests.chaos.faults import FAULTS
from tests.chaos.machines import Machines
from tests.chaos.scene import IN_FLIGHT, SOUND, Scene
from tests.support.machine import machine

MOST_BETWEEN = 400  # molecules that are accepted before the next fault, at most
DELAY_SECONDS = 0.002  # of an answer
# Of the library's first thousand rows; each kills the engine as often as it may.
POISON = ("CCN(CC)c1ccc(SC#N)cc1", "CC(=NO)C(C)=NNC(N)=S", "CCCCCCCCCCCCCC#N")


def main(
    faults: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the library.")] = 6_000,
    minutes: Annotated[float, typer.Option(help="Let no more faults happen after so long.")] = float("inf"),
    seed: Annotated[int, typer.Option(help="Decides which faults come when.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Let one fault after the other happen to runs over one library, then recount it.

    A run that survives its fault meets the next one; one that does not is started again by the same command. When the
    library is finished and faults are left, it is done all over again in an empty store.
    """
    chaos = Chaos(faults, minutes, random.Random(seed))
    while chaos.goes_on:
        chaos.annotate(rows)
    result = {**chaos.result(), "seed": seed, "machine": machine()}
    _show(result)
    if as_json:
        typer.echo(json.dumps(result))


class Chaos:
    """Faults that happened, and what was found after them."""

    def __init__(self, faults: int, minutes: float, chance: random.Random) -> None:
        self._faults, self._minutes, self._chance = faults, minutes, chance
        self._started = time.monotonic()
        self._done: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()
        self._redone: list[int] = []
        self._starts = 0
        self._rows = 0

    @property
    def goes_on(self) -> bool:
        """Whether there are faults left, and time."""
        minutes = (time.monotonic() - self._started) / 60
        return self._done.total() < self._faults and minutes < self._minutes

    def annotate(self, rows: int) -> None:
        """Bring a library to its end, with faults on the way, and recount it."""
        machines = Machines()
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(Path(folder), rows, machines, delay=DELAY_SECONDS, poison=POISON)
            try:
                while not self._run(scene):
                    pass
                self._wrong.update(scene.check())
                for letter in scene.blamed():
                    _tell(f"wrongly dead: {letter}")
                self._redone.append(scene.redone())
                self._rows += rows
            finally:
                scene.close()
                machines.close()

    def result(self) -> dict[str, Any]:
        """Return the counts: faults by name, what is wrong after them, and requests beyond one a molecule."""
        engines_killed = MOST_LOSSES * len(POISON) * len(self._redone)
        return {
            "faults": self._done.total(),
            "faults_by_name": dict(sorted(self._done.items())),
            "rows": self._rows,
            "runs_started": self._starts,
            **{name: self._wrong[name] for name in SOUND},
            "redone": sum(self._redone),
            "redone_at_most": IN_FLIGHT * (self._done.total() + engines_killed),
            "seconds": round(time.monotonic() - self._started),
        }

    def _run(self, scene: Scene) -> bool:
        """Start a run and let faults happen to it; return whether it came to the end of the library."""
        driver = scene.start()
        self._starts += 1
        survives = True
        while survives and self.goes_on and scene.wait_for_progress(driver, self._chance.randint(1, MOST_BETWEEN)):
            name = self._chance.choice(list(FAULTS))
            scene.look()
            FAULTS[name].strike(scene, driver)
            self._done[name] += 1
            _tell(f"{self._done.total():4} of {self._faults}  {scene.accepted():7,} accepted  {name}")
            survives = FAULTS[name].survived
        ended = scene.finish(driver)
        if ended["status"] != 0:
            scene.witness.failures += survives
            _tell(f"ended with {ended['status']}: {scene.last_words()[-200:].strip()}")
        return ended["status"] == 0 and not ended["interrupted"]


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")


def _show(result: dict[str, Any]) -> None:
    table = Table("what", "count", title="Faults, and what is wrong after them")
    for name, value in result.items():
        for part, count in value.items() if isinstance(value, dict) else [("", value)]:
            table.add_row(f"{name} {part}".strip().replace("_", " "), str(count))
    Console(stderr=True).print(table)


if __name__ == "__main__":
    typer.run(main)
