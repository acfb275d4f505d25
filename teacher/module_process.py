"""Processes that run a module of ours, and say so as soon as they can work.

One that ends before has a fault of the machine's (its memory limit, its installation), and none of the work that it
would have been given.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from teacher.errors import GallonError

READY = b"ready\n"
WORDS_SHOWN = 300  # characters


class ProcessStartError(GallonError):
    """A process of ours cannot start on this machine."""


class ModuleProcess:
    """A process that is started at once, while we do something else; it reads its questions from standard input.

    Its module calls `say_ready` before it reads the first. What it writes to standard error until then is quoted if it
    cannot start, and nobody sees it else.

    Args:
        module: what it runs, as `python -m` does.
        arguments: of its command line.
        environment: variables that it has beside ours.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        # -P, since python -m would look for modules in the current folder first: a select.py of the user's would be
        # run in the place of the standard library's.
        command = [sys.executable, "-P", "-m", module, *arguments]
        variables = {**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(places_of_modules())}
        self._words = TemporaryFile()  # noqa: SIM115  `ready` closes it; a pipe would be full some time
        self._process = subprocess.Popen(
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words
        )

    def ready(self) -> subprocess.Popen[bytes]:
        """Wait until the process can work, and return it; to be called once.

        Raises:
            ProcessStartError: it ended before.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._words:
            while line := self._process.stdout.readline():
                if line == READY:  # other lines are what a library prints when it is imported
                    return self._process
            with self._process, suppress(BrokenPipeError):
                self._process.stdin.close()
            self._words.seek(0)
            raise ProcessStartError(
                f"The machine {socket.gethostname()} cannot start a process of gallon "
                f"({how_it_ended(self._process.returncode)}{_last_line(self._words)}): look at its memory limit "
                "(ulimit -v) and at its installation."
            )


def say_ready(answers: BinaryIO) -> None:
    """Tell the process that started this one that its work may begin.

    Args:
        answers: standard output, as a stream of bytes.
    """
    answers.write(READY)
    answers.flush()


def places_of_modules() -> list[str]:
    """Return where this process looks for modules, the current folder last.

    Workers of Ray look where their driver does, which their environment does not tell. The current folder is among it:
    our modules may be there, and so may a user's file that has the name of a module that ours import.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was removed
        return list(filter(None, sys.path))
    others = [place for place in sys.path if place and Path(place).resolve() != here]
    return [*others, str(here)] if len(others) < len(sys.path) else others


def how_it_ended(status: int) -> str:
    """Return the name of the signal that ended a process, or its exit status, in words."""
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _last_line(words: BinaryIO) -> str:
    lines = words.read().decode(errors="replace").strip().splitlines()
    return f", {lines[-1].strip()[:WORDS_SHOWN]}" if lines else ""
