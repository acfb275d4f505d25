"""The gate to an engine: many together, or one alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from cluster.annotation.shared_lock import Gate

VISITS = 40


def test_many_are_inside_at_the_same_time() -> None:
    gate, all_inside = Gate(), threading.Barrier(8, timeout=10)

    def visit(_: int) -> None:
        with gate.together():
            all_inside.wait()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(8)))


def test_who_is_alone_has_nobody_beside_and_keeps_nobody_out_for_ever() -> None:
    gate, inside, met = Gate(), set(), []

    def visit(number: int) -> None:
        with gate.alone() if number % 4 == 0 else gate.together():
            inside.add(number)
            time.sleep(0.001)
            if any(each % 4 == 0 for each in inside):
                met.append(set(inside))
            inside.discard(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(VISITS)))
    assert not inside
    assert len(met) == VISITS // 4 and all(len(each) == 1 for each in met)


def test_an_error_inside_opens_the_gate_again() -> None:
    gate = Gate()
    for enter in (gate.alone, gate.together, gate.alone):
        try:
            with enter():
                raise RuntimeError
        except RuntimeError:
            pass
    with gate.alone():
        pass
