"""A process of its own for what may kill RDKit, or keep it busy for ever: that costs itself and nothing else.

Questions and answers are lines. A question that ends the process is asked about its parts, one by one, and the part
that ends it alone is blamed. It has to do so twice, since a process may also be killed for what others did (by the
kernel, where memory is short). A process that cannot start has been asked nothing, and blames nobody.
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

from teacher.module_process import ModuleProcess, how_it_ended, say_ready
from teacher.wording import counted

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
        self._module, self._seconds, self._at_a_time = module, seconds, at_a_time
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

        Raises:
            ProcessStartError: this machine cannot start the process.
        """
        step = self._at_a_time

        def asked(some: Sequence[Item], tries: int) -> list[Answer]:
            try:
                found = answers(self._ask(question(some)))
                self._refuse_others(len(found), len(some))
                return found
            except _EndedError as error:
                reason = error.reason(self._seconds)
                logger.warning("a process that works for us ended: one of %d molecules %s", len(some), reason)
                if len(some) > 1:
                    return [each for item in some for each in asked([item], tries)]
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
            process, self._process = self._process, None
            if process is not None:
                process.communicate()

    def _ask(self, question: bytes) -> bytes:
        """Have a question answered, all of it or nothing.

        Raises:
            _EndedError: the process ended over it.
            ProcessStartError: it could not start.
        """
        process = self._process = self._process or ModuleProcess(self._module, str(self._seconds)).ready()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(question + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        except BaseException:
            # An interrupt, or a task that Ray cancels: the answer that nobody has read would be taken for that of the
            # next question, and other molecules get the results of these.
            process.kill()
            self._end(process)
            raise
        if not answer.endswith(b"\n"):
            self._end(process)
            raise _EndedError(how_it_ended(process.returncode))
        return answer

    def _refuse_others(self, found: int, expected: int) -> None:
        """Have no answers that cannot be those of the question, and end the process, as nobody knows what comes next.

        Raises:
            _EndedError: there are more answers, or fewer, than items were asked about.
        """
        if found == expected:
            return
        process = self._process
        assert process is not None
        process.kill()
        self._end(process)
        raise _EndedError(f"{counted(found, 'answer')} for {expected:,}")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of a process that is ending; the next question starts another."""
        assert process.stdin is not None
        self._process = None
        with process, suppress(BrokenPipeError):  # over what it did not read
            process.stdin.close()


class _EndedError(Exception):
    """The process ended before it answered, or what it answered is not to be relied on."""

    def __init__(self, end: str) -> None:
        super().__init__(end)
        self._end = end

    @property
    def is_about_time(self) -> bool:
        """Whether its time was over: it would be again."""
        return self._end == signal.SIGALRM.name

    def reason(self, seconds: float) -> str:
        """Say what an item did."""
        if self.is_about_time:
            return f"keeps RDKit busy for more than {seconds:g} s"
        return f"kills RDKit ({self._end})"


def serve(answer: Callable[[bytes], bytes]) -> None:
    """Answer the questions on standard input, each a line, until it is closed; to be called by a process's `main`."""
    seconds = float(sys.argv[1])
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = _memory_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks, and closes standard input
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # RDKit's last words: the reason is in the answer
    say_ready(answers)
    for question in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_REAL, seconds)  # nobody handles its signal, which ends RDKit wherever it is
        answers.write(answer(question) + b"\n")
        answers.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)


def _memory_bytes() -> int:
    """Return how much memory the process may have: ours to give, or less where the user allows less."""
    limits = [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    return min([MEMORY_BYTES, *limits])
