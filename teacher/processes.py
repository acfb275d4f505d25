"""Processes beside this one, which end as soon as they are no longer wanted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Executor

# Cores are for the processes. Threads of OpenMP and of BLAS wait for one another by spinning: with two threads on two
# busy cores, what MiniMol reads of a molecule took twelve to twenty times as long as with one.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@contextmanager
def process_pool(processes: int) -> Iterator[Executor]:
    """Start so many processes; they end with the body, and amid their work where it fails or is interrupted.

    Each computes on one thread. They are loky's, which do not run the caller's script again, as those of the standard
    library do: a script that calls us needs no `if __name__ == "__main__"`.
    """
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(processes, initializer=leave_interrupts, env=ONE_THREAD)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, kill_workers=True)
        raise
    pool.shutdown()


def leave_interrupts() -> None:
    """Let the process that started this one decide what a Ctrl-C means, which a terminal sends to both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
