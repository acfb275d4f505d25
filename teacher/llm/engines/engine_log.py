"""What vLLM's processes write while they run, kept in a file, and the reason for a failure found in it.

vLLM's engine runs in a child process and its parent learns only that the child failed ("see root cause above"); the
cause stands in the child's log.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# `(EngineCore pid=7) ERROR 11-22 10:00:00 [core.py:1]` in front, the type of an exception, what it says.
REASON = re.compile(r"(?:^|[\s\]])(?:\w+\.)*\w*(?:Error|Exception): (?P<message>\S.*)$")
TAIL_BYTES = 64 * 1024


class EngineLog:
    """A log file that takes the standard output and error of the processes started inside `capture`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Send this process's file descriptors 1 and 2 to the log; children started meanwhile keep them."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        kept = [os.dup(1), os.dup(2)]
        log = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.dup2(log, 1)
            os.dup2(log, 2)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.close(log)

    def reason(self) -> str | None:
        """Return what the last exception in the log says, or None."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - TAIL_BYTES))
            tail = file.read().decode(errors="replace")
        found = [match["message"].strip() for line in tail.splitlines() if (match := REASON.search(line))]
        return found[-1] if found else None
