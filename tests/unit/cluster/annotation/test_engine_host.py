"""The engine of an annotator: how often its start is tried, and that it is forgotten once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cluster.annotation.engine_host import EngineHost
from cluster.annotation.job import START_WAITS
from teacher.errors import EngineDeadError, EngineRefusedError, EngineStartError
from teacher.llm.engine import Engine
from tests.support.scripted import Script, ScriptedEngine


def host(start: Callable[[], Engine], waits: tuple[float, ...] = ()) -> EngineHost:
    return EngineHost(start, waits, lambda state: None, lambda reason: None)


@pytest.mark.parametrize(("error", "tries"), [(EngineStartError, 3), (EngineRefusedError, 1)])
def test_a_start_that_fails_is_tried_again_unless_the_engine_refuses(error: type[EngineStartError], tries: int) -> None:
    tried = []

    def start() -> Engine:
        tried.append(None)
        raise error("no")

    with pytest.raises(error, match="no"):
        host(start, tuple(0.0 for _ in START_WAITS)).engine()
    assert len(tried) == tries


def test_a_dead_engine_is_closed_for_it_may_still_hold_its_gpu() -> None:
    class Closing(ScriptedEngine):
        closed = 0

        def close(self) -> None:
            self.closed += 1
            super().close()

    engine = Closing(Script())
    hosted = host(lambda: engine)
    assert hosted.engine() is engine
    hosted.discard(engine, EngineDeadError("dead"))
    assert engine.closed == 1


def test_whoever_comes_late_with_a_dead_engine_changes_nothing() -> None:
    """Two threads held it; until the second one says so, the next engine has failed to start."""
    engines: list[Engine] = [ScriptedEngine(Script())]

    def start() -> Engine:
        if not engines:
            raise EngineStartError("out of memory")
        return engines.pop()

    hosted = host(start)
    engine = hosted.engine()
    hosted.discard(engine, EngineDeadError("dead"))
    with pytest.raises(EngineStartError):
        hosted.engine()
    hosted.discard(engine, EngineDeadError("dead"))
    hosted.close()
    with pytest.raises(EngineStartError, match="out of memory"):
        hosted.engine()
