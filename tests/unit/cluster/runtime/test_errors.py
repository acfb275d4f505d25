"""Which errors of workers are worth another try."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

from cluster.runtime.errors import may_pass

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
