"""A probe annotates a little of a library, and tells what the rest will take."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import gallon
from cluster.annotation.pool import Pool
from cluster.runtime.session import RaySession
from cluster.store.store import Store
from gallon.api import annotation, planning
from gallon.api.planning import Probe
from tests.support.command import CommandHere
from tests.support.scripted import Script

ROWS = 200


@pytest.fixture
def library(tmp_path: Path) -> Path:
    file = tmp_path / "library.smi"
    file.write_text("".join(f"{'C' * (number % 50 + 1)}OC{'C' * (number // 50)}N\nnothing\n" for number in range(ROWS)))
    return file


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, ray_with_gpus: RaySession) -> Callable[..., None]:
    """Have the scripted engine serve, on GPUs that Ray believes in."""

    def serve(script: Script, pool: Pool) -> None:
        for module in (annotation, planning):
            monkeypatch.setattr(module, "engines_for", lambda *_: (script, pool))

    return serve


def probe(**changes: object) -> Probe:
    facts = {"accepted": 60, "dead": 4, "start_seconds": 360.0, "molecules_per_second": 2.0, "concurrency": 64}
    facts |= {"annotators": 4, "gpus": 2.0, "rest": 7200, "price_per_hour": 3.0}
    return Probe(**{"run": "run", **facts, **changes})  # type: ignore[arg-type]


def test_the_rest_takes_the_start_of_engines_and_the_pace_of_all_annotators() -> None:
    assert (probe().hours, probe().gpu_hours, probe().cost) == (0.35, pytest.approx(2.8), pytest.approx(8.4))
    alone = probe(gpus=0.0, annotators=1)
    assert (alone.hours, alone.gpu_hours, alone.cost) == (pytest.approx(1.1), 0.0, pytest.approx(3.3))
    assert probe(price_per_hour=None).cost is None
    unknown = probe(molecules_per_second=None)
    assert (unknown.hours, unknown.gpu_hours, unknown.cost) == (None, None, None)


def test_a_probe_is_stored_and_the_run_does_the_rest(
    scripted: Callable[..., None], library: Path, store: Store, redis_url: str, ray_address: str, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    scripted(Script(starts=starts), Pool(workers=2, cpus=0.1, gpus=1, concurrency=16))
    plan_run = functools.partial(gallon.plan_run, library, image=False, ray=ray_address, store=redis_url)
    plan = plan_run(probe=20, price_per_hour=2.0)
    found = plan.probe
    assert found is not None
    assert (found.accepted, found.dead, found.rest, found.annotators, found.gpus) == (20, 0, ROWS - 20, 2, 1)
    assert len(starts.read_text().splitlines()) == 1
    assert found.molecules_per_second and found.hours and found.cost == pytest.approx(2 * found.hours * 2.0)
    assert store.counts(plan.spec).accepted == 20
    (facts,) = store.runs().values()
    assert (facts["ledger"]["rows"], facts["ledger"]["molecules"]) == (20, 20)
    again = plan_run(probe=20).probe
    assert again is not None and (again.accepted, again.rest) == (20, ROWS - 40)
    result = gallon.annotate(library, image=False, ray=ray_address, store=redis_url)
    assert (result.ledger.accepted, result.ledger.new) == (ROWS, ROWS - 40)
    assert plan_run(probe=20).probe is None


def test_a_probe_without_a_dry_run_or_a_price_without_a_probe_is_refused(
    command_here: CommandHere, library: Path, tmp_path: Path
) -> None:
    for options in (["--probe", "8"], ["--price-per-hour", "2"]):
        done = command_here("annotate", library, *options, store=tmp_path / "store")
        assert done.status == 2 and "belong to a --dry-run" in done.err
    done = command_here("annotate", library, "--dry-run", "--price-per-hour", "2", store=tmp_path / "store")
    assert done.status == 2 and "give --probe too" in done.err


def test_tiny_is_probed_in_the_real_vllm(
    command_here: CommandHere, tmp_path: Path, redis_url: str, store: Store, ray_address: str
) -> None:
    library = tmp_path / "library.smi"
    library.write_text("CCO\nCCN\nCCS\nc1ccccc1\n")
    options = ["--dry-run", "--probe", "2", "--price-per-hour", "2.5", "--ray", ray_address, "--json"]
    done = command_here("annotate", library, *options, store=redis_url)
    facts = json.loads(done.out.splitlines()[-1])
    assert (facts["to_annotate"], facts["probe_accepted"] + facts["probe_dead"], facts["rest"]) == (4, 2, 2)
    assert facts["hours"] > 0 and facts["gpu_hours"] == 0
