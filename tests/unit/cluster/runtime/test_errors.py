"""Which errors of workers are worth another try."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import ray
from ray._private.utils import check_version_info
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

from cluster.runtime.errors import may_pass, ours_unwrapped, version_mismatch
from teacher.files import OutputError

DEAD_PEER = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WorkerCrashedError(), True),
        (ActorDiedError(), True),
        (OutOfMemoryError("Task was killed"), True),
        (RayTaskError("fits", "traceback", ActorDiedError()), True),
        (MemoryError(), True),
        (ConnectionResetError("by peer"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError(DEAD_PEER), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (10x2 and 3x1)"), False),
        (RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu!"), False),
        (KeyError("width"), False),
        (RayTaskError("fits", "traceback", KeyError("width")), False),
        (RayTaskError("fits", "traceback", KeyError("width")).as_instanceof_cause(), False),
    ],
)
def test_what_a_machine_did_is_tried_again_and_what_code_raises_is_not(error: Exception, expected: bool) -> None:
    assert may_pass(error) is expected


def test_an_error_of_ours_is_raised_as_it_was_in_the_worker_and_others_stay() -> None:
    ours = OutputError(Path("out"), "No space left on device")
    with pytest.raises(OutputError) as raised, ours_unwrapped():
        raise RayTaskError("score", "traceback", ours).as_instanceof_cause()
    assert raised.value is ours
    died = WorkerCrashedError()
    with pytest.raises(WorkerCrashedError) as kept, ours_unwrapped():
        raise died
    assert kept.value is died and died.__cause__ is None


def test_a_cluster_of_another_version_is_told_with_both_versions() -> None:
    with pytest.raises(RuntimeError) as caught:
        check_version_info({"ray_version": "2.9.0", "python_version": "3.8.1"}, "node 10.0.0.1")
    told = str(version_mismatch("head:6379", caught.value))
    assert "at head:6379 runs Ray 2.9.0 with Python 3.8.1, and this process Ray" in told
    assert f"Ray {ray.__version__} with Python {platform.python_version()}: install the same versions" in told
    assert version_mismatch("head:6379", RuntimeError("No node")) is None
