"""A process of its own for what may kill RDKit, or keep it busy for ever: that costs itself and nothing else.

Questions and answers are lines. A question that ends the process is asked about its parts, one by one, and the part
that ends it alone is blamed. It has to do so twice, since a process may also be killed for what others did (by the
kernel, where memory is short).
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import TypeVar

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")

SECONDS = 60.0  # for a question: the slowest molecule within the bounds takes about two
MEMORY_BYTES = 8 << 30
TRIES = 2  # of a part alone


class SafeProcess:
    """Has items worked on in a process, which is started with the first of them; threads take turns.

    Args:
        module: what the process runs; its `main` hands a function to `serve`.
        seconds: after which a question is given up.
        at_a_time: items in one question.
    """

    def __init__(self, module: str, seconds: float, at_a_time: int) -> None:
        self._command = [sys.executable, "-m", module, str(seconds)]
        self._seconds, self._at_a_time = seconds, at_a_time
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()

    def work(
        self,
        items: Sequence[Item],
        question: Callable[[Sequence[Item]], bytes],
        answers: Callable[[bytes], list[Answer]],
        blame: Callable[[str], Answer],
    ) -> list[Answer]:
        """Return an answer for each item.

        Args:
            items: what is asked about.
            question: writes a question about some of them, in one line without its end.
            answers: reads the answers, one for each of them.
            blame: makes the answer of an item that ends the process, from what it does ("kills RDKit (SIGSEGV)").
        """
        step = self._at_a_time

        def asked(some: Sequence[Item], tries: int) -> list[Answer]:
            try:
                return answers(self._ask(question(some)))
            except _EndedError as error:
                reason = error.reason(self._seconds)
                logger.warning("a process that works for us ended: one of %d molecules %s", len(some), reason)
                if len(some) > 1:
                    return [found for item in some for found in asked([item], tries)]
                if error.is_about_time or tries == 1:
                    return [blame(reason)]
                return asked(some, tries - 1)

        with self._lock:
            return [
                found for start in range(0, len(items), step) for found in asked(items[start : start + step], TRIES)
            ]

    def close(self) -> None:
        """End the process; the next item would start it again."""
        with self._lock:
            if self._process is not None:
                self._process.communicate()
                self._process = None

    def _ask(self, question: bytes) -> bytes:
        """Have a question answered, all of it or nothing.

        Raises:
            _EndedError: the process ended over it.
        """
        process = self._process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(question + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            self._process = None
            with process, suppress(BrokenPipeError):  # over what it did not read
                process.stdin.close()
            raise _EndedError(process.returncode)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        # Workers of Ray find modules where their driver does, which their environment does not tell.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.Popen(self._command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


class _EndedError(Exception):
    """The process ended before it answered."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self._signal = signal.Signals(-status).name if status < 0 else f"exit status {status}"

    @property
    def is_about_time(self) -> bool:
        """Whether its time was over: it would be again."""
        return self._signal == signal.SIGALRM.name

    def reason(self, seconds: float) -> str:
        """Say what an item did."""
        if self.is_about_time:
            return f"keeps RDKit busy for more than {seconds:g} s"
        return f"kills RDKit ({self._signal})"


def serve(answer: Callable[[bytes], bytes]) -> None:
    """Answer the questions on standard input, each a line, until it is closed; to be called by a process's `main`."""
    seconds = float(sys.argv[1])
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # RDKit's last words: the reason is in the answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks, and closes standard input
    for question in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_REAL, seconds)  # nobody handles its signal, which ends RDKit wherever it is
        answers.write(answer(question) + b"\n")
        answers.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)
