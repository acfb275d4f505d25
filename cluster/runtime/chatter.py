"""What libraries write to standard error, in Python and in C++, goes to a file rather than among our own lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_off_screen = False  # whether this process is a command, which writes to a copy of standard error


@contextmanager
def chatter_off_screen() -> Iterator[None]:
    """Let Ray sessions keep to their log what they write to standard error, while the body runs.

    For a command, whose own lines go to a copy of standard error. A script's belong to whoever wrote it: its warnings
    and its progress go to the same descriptor, which is left alone.
    """
    global _off_screen  # noqa: PLW0603
    before, _off_screen = _off_screen, True
    try:
        yield
    finally:
        _off_screen = before


@contextmanager
def session_chatter_to(log: Path) -> Iterator[int]:
    """Send to a log file what Ray's libraries write to standard error, in a command; elsewhere leave it where it is.

    Yields:
        The file descriptor that the user reads.
    """
    if not _off_screen:
        yield 2
        return
    with chatter_to(log) as screen:
        yield screen


@contextmanager
def chatter_to(log: Path) -> Iterator[int]:
    """Send what Ray's libraries write to standard error, in Python and in C++, to a log file.

    Yields:
        The file descriptor of what standard error was before.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield kept
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
