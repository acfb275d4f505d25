"""Processes beside this one, which end as soon as they are no longer wanted."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


@contextmanager
def process_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Start so many processes; they end with the body, and amid their work where it fails or is interrupted."""
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=leave_interrupts)
    try:
        yield pool
    except BaseException:
        kill(pool)
        raise
    pool.shutdown()


def leave_interrupts() -> None:
    """Let the process that started this one decide what a Ctrl-C means, which a terminal sends to both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def kill(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool, whatever they do."""
    # Of its own accord a pool waits for what it works on; `kill_workers` comes with Python 3.14.
    processes: list[BaseProcess] = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
