"""Ctrl-C out of another process, or another thread."""

from __future__ import annotations

import os
import signal
import subprocess
import threading


def interrupt_after(seconds: float) -> None:
    """Send this process SIGINT: a thread of it may wait for Python's lock for long, beside threads that are busy."""
    subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -INT {os.getpid()}"])


def interrupt_waiting_after(seconds: float) -> None:
    """Send SIGINT to this very thread, which will be waiting: what is sent to the process may reach another thread."""
    threading.Timer(seconds, signal.pthread_kill, [threading.get_ident(), signal.SIGINT]).start()
