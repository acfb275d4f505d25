"""What libraries write to standard error, in Python and in C++, goes to a file rather than among our own lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
