"""Workers of this machine that score rows: processes that start in less than a second and need no Ray.

Blocks of rows go to a process through a pipe, and what it makes of them comes back through another, both as streams of
Arrow. A process that ends over a block costs nothing: another one is asked about its halves, and so on, and a row that
ends processes twice by itself is blamed for it.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from distill.screen.scorer import READ, Scorer
from teacher.garbage import leave_out_what_is_loaded

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

TRIES = 2  # of a row alone
WAITING = 2  # blocks for each process, which are read before it asks for them


class Workers:
    """Processes that share the work on blocks of rows; to be used as a context.

    Args:
        model: the folder of a model, or the file that it was packed into.
        doubt: whether predictions come with how far to trust them.
        processes: how many; by default one for each core that this process may use.
        module: what they run.
    """

    def __init__(self, model: str, *, doubt: bool, processes: int | None = None, module: str = __name__) -> None:
        self._scorer, self._number = Scorer(model, doubt=doubt), processes or len(os.sched_getaffinity(0))
        self._command = [sys.executable, "-m", module, model, "doubt" if doubt else "plain"]
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
        """Yield blocks of rows, in order, each with what the model says of its rows (`Scorer.score`)."""
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
            reason = f"kills RDKit ({error})"
        else:
            return answer
        finally:
            self._idle.put(process)
        logger.warning("a process ended (%s) over %d rows", reason, len(rows))
        if len(rows) > 1:
            half = len(rows) // 2
            return pa.concat_tables(self._scored(part, TRIES) for part in (rows.slice(0, half), rows.slice(half)))
        return self._scored(rows, tries - 1) if tries > 1 else self._scorer.blamed(reason)


class _EndedError(Exception):
    """A process ended before it answered."""


class _Process:
    """A process, and the two streams between it and us."""

    def __init__(self, command: list[str]) -> None:
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = {**os.environ, **one_thread, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._questions: Any = None
        self._answers: Any = None

    def ask(self, rows: pa.Table) -> pa.Table:
        """Have rows scored.

        Raises:
            _EndedError: the process ended over them; it says how.
        """
        import pyarrow as pa

        batch = rows.combine_chunks().to_batches()[0]
        try:
            if self._questions is None:
                self._questions = pa.ipc.new_stream(self._process.stdin, batch.schema)
            self._questions.write_batch(batch)
            self._process.stdin.flush()  # type: ignore[union-attr]
            if self._answers is None:
                self._answers = pa.ipc.open_stream(self._process.stdout)
            return pa.Table.from_batches([self._answers.read_next_batch()])
        except (OSError, StopIteration, pa.ArrowInvalid):
            self._process.kill()
            self.close()
            status = self._process.returncode
            raise _EndedError(signal.Signals(-status).name if status < 0 else f"exit status {status}") from None

    def close(self) -> None:
        """End the process: it ends with its questions."""
        assert self._process.stdin is not None and self._process.stdout is not None
        for stream in (self._process.stdin, self._process.stdout):
            try:
                stream.close()
            except BrokenPipeError:
                continue
        self._process.wait()


def main() -> None:
    """Score the rows that come on standard input, until it is closed."""
    import pyarrow as pa

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks, and closes standard input
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    scorer = Scorer(sys.argv[1], doubt=sys.argv[2] == "doubt")
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
