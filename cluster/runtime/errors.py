"""What Ray has wrapped around an error that a worker raised, and what its own errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from teacher.errors import GallonError

# What torch says, in errors of no type of their own, of other processes, of devices and of memory.
OF_A_MACHINE = re.compile(
    "memory|cuda error|cudnn|cublas|nccl|gloo|connection|peer|socket|store|timed out|timeout", re.IGNORECASE
)
VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")


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


@contextmanager
def ours_unwrapped() -> Iterator[None]:
    """Raise an error of ours as it was raised in a worker, without what Ray has wrapped around it; others stay."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        if (ours := first_of_ours(error)) is error:
            raise
        raise ours from error


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


def version_mismatch(address: str, error: Exception) -> GallonError | None:
    """Return what to say of a cluster that runs another Ray or Python, if that is what Ray says where it is joined.

    Args:
        address: of the cluster.
        error: raised by `ray.init`; it names both versions of the cluster, and then those of this process.
    """
    versions = VERSIONS.findall(str(error))
    if len(versions) != 2:
        return None
    (ray, python), (our_ray, our_python) = versions
    return GallonError(
        f"The Ray cluster at {address} runs Ray {ray} with Python {python}, and this process Ray {our_ray} with Python "
        f"{our_python}: install the same versions of both on all machines."
    )
