"""What a run measures of itself, for Ray's dashboard, Prometheus and Grafana.

The metrics show work and its pace; the ledger is Redis' alone. A molecule that is computed twice counts twice here, and
what a worker had counted in the last seconds of its life may be missing.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cluster.metrics import (
    COMMIT_SECONDS,
    DEAD_LETTERS,
    ENGINE_DEATHS,
    ENGINE_SECONDS,
    ETA_SECONDS,
    GPU_SECONDS,
    GROUNDING,
    IN_FLIGHT,
    MOLECULES,
    REASONING_TOKENS,
    RETRIES,
    ROWS,
    RUN_MOLECULES,
    RUN_ROWS,
    STORE_BYTES,
    STORE_MAX_BYTES,
    TOKENS,
    WORKER_SECONDS,
)
from cluster.runs.progress import Progress
from cluster.runs.workers import WorkerReporter
from cluster.store.record import DeadLetter, Record
from cluster.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from teacher.llm.engine import Engine
    from teacher.llm.engines.endpoint import EndpointSettings
    from teacher.llm.engines.vllm_arguments import EngineSettings
    from teacher.llm.spec import Model


class AnnotatorMetrics:
    """What one annotator counts; its threads may call every method at the same time.

    A call costs Ray 4 to 13 µs, so what can be is counted batch by batch.

    Args:
        run: id of the run.
        gpus: how many the annotator holds.
        signer: tells the store of it as well.
    """

    def __init__(self, run: str, gpus: float, signer: WorkerReporter) -> None:
        self._reporter = signer
        self._run = run
        self._gpus = gpus
        self._lock = threading.Lock()
        self._in_flight = 0
        self._counted_until = time.monotonic()

    @contextmanager
    def in_flight(self, molecules: int) -> Iterator[Callable[[int], None]]:
        """Note molecules as in the engine's hands while the body runs; it says how many are left by what is yielded."""
        noted = 0

        def left(now: int) -> None:
            nonlocal noted
            with self._lock:
                self._in_flight += now - noted
                IN_FLIGHT.set(self._in_flight, run=self._run)
                self._reporter.in_flight = self._in_flight
            noted = now

        left(molecules)
        try:
            yield left
        finally:
            left(0)

    def answered(self, seconds: float, reasoning_tokens: int = 0) -> None:
        """Note an answer, the time that the engine took for it, and the tokens of the thoughts before it."""
        ENGINE_SECONDS.observe(seconds, run=self._run)
        if reasoning_tokens:
            REASONING_TOKENS.add(reasoning_tokens, run=self._run)

    def retried(self, reason: str) -> None:
        """Note an answer that is asked for again, and the check that refused it."""
        RETRIES.add(1, run=self._run, reason=reason)

    def engine_died(self, message: str) -> None:
        """Note the death of an engine, and what it said."""
        ENGINE_DEATHS.add(1, run=self._run)
        self._reporter.engine_died(message)

    @contextmanager
    def committing(self, outcomes: Sequence[Record | DeadLetter], tokens: Sequence[tuple[int, int]]) -> Iterator[None]:
        """Time a commit, and count what it stored once it is through.

        Args:
            outcomes: what became of the molecules.
            tokens: prompt and completion tokens spent on each.
        """
        begun = time.monotonic()
        yield
        COMMIT_SECONDS.observe(time.monotonic() - begun, run=self._run)
        self._count_outcomes(outcomes)
        self._reporter.ended(outcomes)
        TOKENS.add(sum(prompt for prompt, _ in tokens), run=self._run, kind="prompt")
        TOKENS.add(sum(completion for _, completion in tokens), run=self._run, kind="completion")
        self._count_time()

    def _count_outcomes(self, outcomes: Sequence[Record | DeadLetter]) -> None:
        records = [outcome for outcome in outcomes if isinstance(outcome, Record)]
        for record in records:
            GROUNDING.observe(record.grounding.score, run=self._run)
        letters = Counter((outcome.stage, outcome.error) for outcome in outcomes if isinstance(outcome, DeadLetter))
        for (stage, reason), number in letters.items():
            DEAD_LETTERS.add(number, run=self._run, stage=stage, reason=reason)
        MOLECULES.add(len(records), run=self._run, outcome="accepted")
        MOLECULES.add(letters.total(), run=self._run, outcome="dead")

    def _count_time(self) -> None:
        """Count the time since the last commit; the first one's begins with the annotator's life."""
        with self._lock:
            now = time.monotonic()
            seconds, self._counted_until = now - self._counted_until, now
        WORKER_SECONDS.add(seconds, run=self._run)
        GPU_SECONDS.add(seconds * self._gpus, run=self._run)


def count_rows(run: str, *, todo: int, skipped: int, invalid: int) -> None:
    """Count rows of the library by what they were found to be.

    Args:
        run: id of the run.
        todo: brought a molecule that is to be annotated.
        skipped: brought one that another row had brought, or that was finished before.
        invalid: are no molecule.
    """
    ROWS.add(todo, run=run, outcome="todo")
    ROWS.add(skipped, run=run, outcome="skipped")
    ROWS.add(invalid, run=run, outcome="invalid")


def publish(progress: Progress, store: Store, run: str) -> None:
    """Publish how far a run is, and how full its store.

    Raises:
        StoreError: Redis failed.
    """
    RUN_MOLECULES.set(progress.accepted, run=run, state="accepted")
    RUN_MOLECULES.set(progress.dead, run=run, state="dead")
    RUN_MOLECULES.set(progress.todo - progress.accepted - progress.dead, run=run, state="pending")
    RUN_ROWS.set(progress.rows, run=run)
    if progress.eta_seconds is not None:
        ETA_SECONDS.set(progress.eta_seconds, run=run)
    used, most = store.memory()
    STORE_BYTES.set(used, run=run)
    STORE_MAX_BYTES.set(most, run=run)


def serve_measured(model: Model, path: str, settings: EngineSettings, log_path: Path) -> Engine:
    """Start the engine of a model on this machine, with vLLM's own metrics beside ours.

    Args:
        model: what is served.
        path: where its files lie, or its Hugging Face id.
        settings: how it runs.
        log_path: the file that takes what vLLM's processes write.

    Raises:
        EngineStartError: vLLM could not start; the message carries vLLM's own reason.
    """
    from teacher.llm.engines.vllm_engine import VllmEngine, set_environment

    set_environment(settings)
    from cluster.annotation.vllm_metrics import StepStatLogger

    return VllmEngine(model, path, settings, log_path, stat_loggers=[StepStatLogger])


def ask_endpoint(settings: EndpointSettings, log_path: Path) -> Engine:
    """Connect to an OpenAI-compatible server, which writes no log here.

    Raises:
        EngineStartError: the server does not answer, does not let us in, or has no such model.
    """
    from teacher.llm.engines.endpoint import EndpointEngine

    return EndpointEngine(settings)


def gpus_held() -> float:
    """Return how many GPUs Ray has given to the actor or task that asks."""
    import ray

    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))


def place() -> str:
    """Return the machine, and its GPUs if it was given any, of the actor or task that asks."""
    import ray

    gpus = ", ".join(f"GPU {number}" for number in ray.get_gpu_ids())
    return f"{socket.gethostname()} ({gpus})" if gpus else socket.gethostname()
