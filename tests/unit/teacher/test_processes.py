"""Pools of processes that do not outlive what they are wanted for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from threadpoolctl import threadpool_info

from teacher.processes import process_pool

LONG_SECONDS = 600.0


@pytest.mark.timeout(120)
def test_an_interrupt_ends_processes_in_the_middle_of_their_work() -> None:
    with pytest.raises(KeyboardInterrupt), process_pool(2) as pool:
        workers = [psutil.Process(pid) for pid in {pool.submit(os.getpid).result() for _ in range(4)}]
        for _ in range(8):
            pool.submit(time.sleep, LONG_SECONDS)
        raise KeyboardInterrupt
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert gone and not alive


@pytest.mark.timeout(120)
def test_an_interrupt_of_the_terminal_is_left_to_the_process_that_started_them() -> None:
    as_found = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored is inherited
    with process_pool(1) as pool:
        worker = pool.submit(os.getpid).result()
        signal.signal(signal.SIGINT, as_found)
        os.kill(worker, signal.SIGINT)
        assert pool.submit(abs, -3).result() == 3


@pytest.mark.timeout(120)
def test_processes_compute_on_one_thread_each() -> None:
    with process_pool(2) as pool:
        assert {pool.submit(torch.get_num_threads).result() for _ in range(4)} == {1}
        of_blas = [each for each in pool.submit(threadpool_info).result() if each["user_api"] == "blas"]
    assert of_blas and {each["num_threads"] for each in of_blas} == {1}


SCRIPT = """
from teacher.processes import process_pool

print("runs")
with process_pool(2) as pool:
    print(list(pool.map(abs, [-1, -2])))
"""


@pytest.mark.timeout(120)
def test_a_script_that_is_no_module_can_ask_for_processes(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.splitlines() == ["runs", "[1, 2]"], done.stderr
