"""Processes beside this one, which end as soon as they are no longer wanted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Executor


@contextmanager
def process_pool(processes: int) -> Iterator[Executor]:
    """Start so many processes; they end with the body, and amid their work where it fails or is interrupted.

    They are loky's, which do not run the caller's script again, as those of the standard library do: a script that
    calls us needs no `if __name__ == "__main__"`.
    """
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(processes, initializer=leave_interrupts)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, kill_workers=True)
        raise
    pool.shutdown()


def leave_interrupts() -> None:
    """Let the process that started this one decide what a Ctrl-C means, which a terminal sends to both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
