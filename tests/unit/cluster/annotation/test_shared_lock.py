"""The lock on an engine: shared by many, or exclusive to one."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from cluster.annotation.shared_lock import SharedLock

VISITS = 40


def test_many_are_inside_at_the_same_time() -> None:
    lock, all_inside = SharedLock(), threading.Barrier(8, timeout=10)

    def visit(_: int) -> None:
        with lock.shared():
            all_inside.wait()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(8)))


def test_who_is_alone_has_nobody_beside_and_keeps_nobody_out_for_ever() -> None:
    lock, inside, met = SharedLock(), set(), []

    def visit(number: int) -> None:
        with lock.exclusive() if number % 4 == 0 else lock.shared():
            inside.add(number)
            time.sleep(0.001)
            if any(each % 4 == 0 for each in inside):
                met.append(set(inside))
            inside.discard(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(VISITS)))
    assert not inside
    assert len(met) == VISITS // 4 and all(len(each) == 1 for each in met)


def test_an_error_inside_opens_the_lock_again() -> None:
    lock = SharedLock()
    for enter in (lock.exclusive, lock.shared, lock.exclusive):
        try:
            with enter():
                raise RuntimeError
        except RuntimeError:
            pass
    with lock.exclusive():
        pass
