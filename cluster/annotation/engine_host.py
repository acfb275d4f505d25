"""The one engine of an annotator: started when it is first needed, tried again where that fails, replaced when dead."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from cluster.runs.workers import EngineState
from teacher.errors import EngineDeadError, EngineRefusedError, EngineStartError
from teacher.llm.engine import Engine

logger = logging.getLogger(__name__)


class EngineHost:
    """Hosts one engine for all threads of an annotator.

    Args:
        start: starts an engine.
        waits: seconds to wait before each further try where it fails to start; after the last one the host gives up.
        tell: called with what the engine is now: `starting`, `ready`, `failed`.
        died: called with the reason when an engine has died, or failed to start and is tried again.
    """

    def __init__(
        self,
        start: Callable[[], Engine],
        waits: tuple[float, ...],
        tell: Callable[[EngineState], None],
        died: Callable[[str], None],
    ) -> None:
        self._start, self._waits, self._tell, self._died = start, waits, tell, died
        self._engine: Future[Engine] | None = None
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine-start")
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Start an engine in the background where there is none."""
        self._starting()

    def engine(self) -> Engine:
        """Wait for the engine and return it.

        Raises:
            EngineStartError: it failed to start as often as it may; every later call says the same.
        """
        return self._starting().result()

    def discard(self, engine: Engine, error: EngineDeadError) -> None:
        """Forget a dead engine, once, whichever thread notices first; the next to ask gets a new one."""
        with self._lock:
            if self._ready() is engine:
                self._engine = None
                logger.warning("the engine died, and the next molecule starts another: %s", error)
                self._died(str(error))
                engine.close()

    def close(self) -> None:
        """Stop the engine, if one is ready."""
        with self._lock:
            if engine := self._ready():
                engine.close()

    def _ready(self) -> Engine | None:
        """Return the engine that has started, if one has: the next one may still start, or have failed to."""
        if self._engine is None or not self._engine.done() or self._engine.exception() is not None:
            return None
        return self._engine.result()

    def _starting(self) -> Future[Engine]:
        with self._lock:
            if self._engine is None:
                self._engine = self._starter.submit(self._start_patiently)
            return self._engine

    def _start_patiently(self) -> Engine:
        """Start an engine; what fails may be a neighbour's memory or a hub that is busy, so it is tried again."""
        waits = iter(self._waits)
        while True:
            self._tell("starting")
            begun = time.monotonic()
            logger.info("starting an engine")
            try:
                engine = self._start()
            except EngineStartError as error:
                wait = next(waits, None)
                if wait is None or isinstance(error, EngineRefusedError):
                    logger.error("the engine does not start: %s", error)
                    self._tell("failed")
                    raise
                logger.warning("the engine does not start, and is tried again in %g s: %s", wait, error)
                self._died(str(error))
                time.sleep(wait)
            else:
                logger.info("the engine is ready after %.1f s", time.monotonic() - begun)
                self._tell("ready")
                return engine
