"""What Ray has wrapped around an error that a worker raised."""

from __future__ import annotations

import re
from collections.abc import Iterator

from teacher.errors import GallonError

# What torch says, in errors of no type of their own, of other processes, of devices and of memory.
OF_A_MACHINE = re.compile(
    "memory|cuda error|cudnn|cublas|nccl|gloo|connection|peer|socket|store|timed out|timeout", re.IGNORECASE
)


def exception_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, the one that caused it, and so on down to the first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = getattr(seen, "cause", None) or seen.__cause__


def first_of_ours(error: BaseException) -> BaseException:
    """Return the error of ours among those that Ray has wrapped around it, or else the error itself.

    Ray's wrapper is an instance of what it wraps, too.
    """
    from ray.exceptions import RayError

    ours = (seen for seen in exception_chain(error) if isinstance(seen, GallonError) and not isinstance(seen, RayError))
    return next(ours, error)


def root_of(error: BaseException) -> BaseException:
    """Return the error at the bottom of those that Ray has wrapped around it."""
    *_, bottom = exception_chain(error)
    return bottom


def may_pass(error: BaseException) -> bool:
    """Tell whether the same work may succeed at another try: its process or machine failed it, not its own code.

    These are deaths of workers and machines (errors of Ray's own), errors of files and connections, and what had no
    memory or lost a device or another worker. torch raises the latter as `RuntimeError`, as it does a mistake in a
    network, so that these are told apart by their words; one that is taken for a machine's costs only time.
    """
    from ray.exceptions import RayTaskError

    def of_a_machine(seen: BaseException) -> bool:
        if isinstance(seen, (MemoryError, OSError)) or not isinstance(seen, Exception):
            return True
        if type(seen).__module__.partition(".")[0] == "ray":
            return True
        return isinstance(seen, RuntimeError) and OF_A_MACHINE.search(str(seen)) is not None

    return any(of_a_machine(seen) for seen in exception_chain(error) if not isinstance(seen, RayTaskError))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message: Ray adds a traceback, or advice of many lines."""
    return str(error).strip().split("\n", maxsplit=1)[0]
