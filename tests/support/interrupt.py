"""Ctrl-C out of another process."""

from __future__ import annotations

import os
import subprocess


def interrupt_after(seconds: float) -> None:
    """Send this process SIGINT: a thread of it may wait for Python's lock for long, beside threads that are busy."""
    subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -INT {os.getpid()}"])
