"""What a machine has no room for is refused with what it has room for, before anything waits for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cluster.annotation.pool import Pool
from cluster.runtime.session import Node, RaySession
from cluster.service.deployment import Service, _refuse_too_many
from teacher.errors import UsageError

MACHINE = RaySession(address="", local=True, dashboard=None, logs=Path(), nodes=(Node(cpus=4, gpus=2),))


@pytest.mark.parametrize(
    ("pool", "replicas", "sentence"),
    [
        (Pool(workers=3, gpus=1), 1, "CPUs and GPUs for 2 engines, not for 3: give --workers 2 or fewer."),
        (Pool(workers=9, gpus=2), 1, "CPUs and GPUs for 1 engine, not for 9: give --workers 1."),
        (
            Pool(workers=1, gpus=4),
            1,
            "CPUs and GPUs for 0 engines, not for 1: name a cluster that has more with --ray.",
        ),
        (Pool(workers=4, cpus=1.0), 1, "CPUs and GPUs for 3 engines, not for 4: give --workers 3 or fewer."),
        (Pool(workers=20, cpus=0.2), 1, "for 19 engines, not for 20: give --workers 19 or fewer."),
        (Pool(workers=2, gpus=1), 20, "for 19 replicas beside the engines, not for 20: give --replicas 19 or fewer."),
        (Pool(workers=19, cpus=0.2), 2, "for 1 replica beside the engines, not for 2: give --replicas 1."),
        (None, 40, "CPUs for 39 replicas, not for 40: give --replicas 39 or fewer."),
    ],
)
def test_what_does_not_fit_is_refused_with_what_fits(pool: Pool | None, replicas: int, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        _refuse_too_many(Service(replicas=replicas), pool, MACHINE)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("pool", "replicas"),
    [(Pool(workers=2, gpus=1), 19), (Pool(workers=19, cpus=0.2), 1), (Pool(workers=500, cpus=0.0), 39), (None, 39)],
)
def test_what_fits_is_not_refused(pool: Pool | None, replicas: int) -> None:
    _refuse_too_many(Service(replicas=replicas), pool, replace(MACHINE))
