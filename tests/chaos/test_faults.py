"""Every fault once, on a small library: nothing is lost, nothing is done twice but what was in flight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import faults
from tests.chaos.faults import FAULTS
from tests.chaos.machines import Machines
from tests.chaos.scene import IN_FLIGHT, KILLERS, SOUND, Scene, wait_until

ROWS = 800
POISON = "Cc1cc(C)c(N)c(C)c1"  # of the library's first rows


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    machines = Machines()
    yield machines
    machines.close()


@pytest.fixture
def scene(tmp_path: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(faults, "FROZEN_SECONDS", 5.0)
    monkeypatch.setattr(faults, "SUSPENDED_SECONDS", 2.0)
    scene = Scene(tmp_path, ROWS, machines, delay=0.002)
    yield scene
    scene.close()


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.survived])
def test_a_run_that_outlives_a_fault_loses_nothing_and_repeats_only_what_was_in_flight(scene: Scene, name: str) -> None:
    whole(scene, fault_strikes(scene, name))
    assert scene.redone() <= IN_FLIGHT


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if not fault.survived])
def test_a_fault_that_ends_a_run_loses_nothing_and_the_same_command_finishes_the_rest(scene: Scene, name: str) -> None:
    fault_strikes(scene, name)
    whole(scene, scene.finish(scene.start()))
    assert scene.redone() <= IN_FLIGHT


@pytest.mark.parametrize("name", ["driver killed", "raylet killed"])
def test_a_run_on_this_machine_alone_resumes_after_a_fault(scene: Scene, name: str) -> None:
    """The run has started a Ray of its own, and nothing takes the place of what dies."""
    scene.machines = None
    fault_strikes(scene, name)
    if name == "raylet killed":  # said by another process, which outlives the run by a moment
        wait_until(lambda: "was killed, as where memory or processor time runs out" in scene.last_words())
    whole(scene, scene.finish(scene.start()))
    assert scene.redone() <= IN_FLIGHT


def test_a_poison_row_costs_itself_only_whatever_else_happens(scene: Scene) -> None:
    scene.poison = [POISON]
    whole(scene, fault_strikes(scene, "annotator killed"))
    assert scene.redone() <= 4 * IN_FLIGHT  # the poison kills three engines


def fault_strikes(scene: Scene, name: str) -> dict[str, Any]:
    """Let a fault happen to a run, and return how that run ended."""
    fault = FAULTS[name]
    quick, progress = scene.delay, 200
    if name == "head killed" or not scene.machines:
        # Annotators need no head: a short run would be over before anybody misses it, or the raylet.
        scene.delay, progress = 0.2, 20
    driver = scene.start()
    scene.delay = quick
    assert scene.wait_for_progress(driver, progress), scene.last_words()
    scene.look()
    fault.strike(scene, driver)
    ended = scene.finish(driver)
    assert ended["status"] == 0 or not (fault.survived and scene.machines), scene.last_words()
    assert fault.last_words in scene.last_words()
    return ended


def whole(scene: Scene, ended: dict[str, Any]) -> None:
    """See that a run ended with the whole library, and recount it."""
    assert ended["status"] == 0, scene.last_words()
    assert ended["rows"] == ended["molecules"] + ended["duplicates"] + ended["invalid"] == ROWS
    assert ended["invalid"] == len(KILLERS)
    assert ended["molecules"] == ended["accepted"] + ended["dead"]
    assert ended["dead"] == len(scene.poison)
    assert scene.check() == SOUND
