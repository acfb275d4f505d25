"""Workers of this machine that score rows: processes that start in less than a second and need no Ray.

Blocks of rows go to a process through a pipe, and what it makes of them comes back through another, both as streams of
Arrow. A process that ends over a block costs nothing: another one is asked about its halves, and so on, and a row that
ends processes twice by itself is blamed for it. A process that ends before it could be asked has a fault of the
machine's, and blames no row.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from distill.models.packing import card_of
from distill.screen.scorer import READ, Scorer, blamed
from teacher.garbage import leave_out_what_is_loaded
from teacher.module_process import ModuleProcess, ProcessStartError, how_it_ended, say_ready
from teacher.wording import counted

if TYPE_CHECKING:
    import subprocess

    import pyarrow as pa

logger = logging.getLogger(__name__)

TRIES = 2  # of a row alone
WAITING = 2  # blocks for each process, which are read before it asks for them
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Workers:
    """Processes that share the work on blocks of rows; to be used as a context.

    Args:
        model: the folder of a model, or the file that it was packed into.
        doubt: whether predictions come with how far to trust them.
        processes: how many; by default one for each core that this process may use.
        module: what they run.

    Raises:
        UsageError: as `distill.models.packing.card_of`.
    """

    def __init__(self, model: str, *, doubt: bool, processes: int | None = None, module: str = __name__) -> None:
        self._card, self._doubt = card_of(Path(model)), doubt
        self._number = processes or len(os.sched_getaffinity(0))
        self._command = module, model, "doubt" if doubt else "plain"
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._threads = ThreadPoolExecutor(self._number)

    def __enter__(self) -> Workers:
        for _ in range(self._number):
            self._idle.put(_Process(self._command))
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            self._idle.get().close()

    def score(self, blocks: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yield blocks of rows, in order, each with what the model says of its rows (`Scorer.score`).

        Raises:
            ProcessStartError: this machine cannot start the processes.
        """
        waiting: deque[tuple[pa.Table, Future[pa.Table]]] = deque()
        for block in filter(len, blocks):
            waiting.append((block, self._threads.submit(self._scored, block.select(READ), TRIES)))
            if len(waiting) >= self._number * WAITING:
                rows, answer = waiting.popleft()
                yield rows, answer.result()
        while waiting:
            rows, answer = waiting.popleft()
            yield rows, answer.result()

    def _scored(self, rows: pa.Table, tries: int) -> pa.Table:
        import pyarrow as pa

        process = self._idle.get()
        try:
            answer = process.ask(rows)
        except _EndedError as error:
            process = _Process(self._command)
            reason = str(error)
        except ProcessStartError:
            raise  # as it will again for whoever asks it next
        except BaseException:
            process = _Process(self._command)  # whatever the one that was asked would say next, nobody relies on it
            raise
        else:
            return answer
        finally:
            self._idle.put(process)
        logger.warning("a process ended (%s) over %d rows", reason, len(rows))
        if len(rows) > 1:
            half = len(rows) // 2
            return pa.concat_tables(self._scored(part, TRIES) for part in (rows.slice(0, half), rows.slice(half)))
        return self._scored(rows, tries - 1) if tries > 1 else blamed(self._card, reason, doubt=self._doubt)


class _EndedError(Exception):
    """A process ended before it answered, or was ended for what it answered."""

    @classmethod
    def of(cls, status: int) -> _EndedError:
        """Say how it ended, from its exit status."""
        what = "kills RDKit" if status < 0 else "ends its process"
        return cls(f"{what} ({how_it_ended(status)})")


class _Process:
    """A process, and the two streams between it and us."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._starting = ModuleProcess(*command, environment=ONE_THREAD)
        self._process: subprocess.Popen[bytes] | ProcessStartError | None = None
        self._questions: Any = None
        self._answers: Any = None

    def _ready(self) -> subprocess.Popen[bytes]:
        """Return the process once it can work, or say again why it never will."""
        if self._process is None:
            try:
                self._process = self._starting.ready()
            except ProcessStartError as error:
                self._process = error
        if isinstance(self._process, ProcessStartError):
            raise self._process
        return self._process

    def ask(self, rows: pa.Table) -> pa.Table:
        """Have rows scored.

        Raises:
            _EndedError: the process ended over them, or has answered about more or fewer; it says how.
            ProcessStartError: it could not start.
        """
        import pyarrow as pa

        process, batch = self._ready(), rows.combine_chunks().to_batches()[0]
        try:
            if self._questions is None:
                self._questions = pa.ipc.new_stream(process.stdin, batch.schema)
            self._questions.write_batch(batch)
            process.stdin.flush()  # type: ignore[union-attr]
            if self._answers is None:
                self._answers = pa.ipc.open_stream(process.stdout)
            answer = pa.Table.from_batches([self._answers.read_next_batch()])
        except (OSError, StopIteration, pa.ArrowInvalid):
            process.kill()
            self.close()
            raise _EndedError.of(process.returncode) from None
        except BaseException:
            # An interrupt, or no memory for the answer: what nobody has read would be taken for the answer about the
            # rows that are asked about next.
            process.kill()
            self.close()
            raise
        if len(answer) != len(rows):
            process.kill()
            self.close()
            raise _EndedError(f"ends its process ({counted(len(answer), 'answer')} for {len(rows):,})")
        return answer

    def close(self) -> None:
        """End the process: it ends with its questions."""
        with suppress(ProcessStartError):  # whoever asked it has been told
            process = self._ready()
            assert process.stdin is not None and process.stdout is not None
            for stream in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    stream.close()
            process.wait()


def main() -> None:
    """Score the rows that come on standard input, until it is closed."""
    import pyarrow as pa

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks, and closes standard input
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    scorer = Scorer(sys.argv[1], doubt=sys.argv[2] == "doubt")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # last words over a row: the reason is in the answer
    say_ready(answers)
    pipe = sys.stdin.buffer
    assert isinstance(pipe, io.BufferedReader)
    if not pipe.peek(1):
        return  # a library of few blocks has none for it
    leave_out_what_is_loaded()  # to search it again and again takes 3 %
    writer = None
    with pa.ipc.open_stream(pipe) as questions:
        for batch in questions:
            answer = scorer.score(pa.Table.from_batches([batch])).combine_chunks().to_batches()[0]
            writer = writer or pa.ipc.new_stream(answers, answer.schema)
            writer.write_batch(answer)
            answers.flush()


if __name__ == "__main__":
    main()
