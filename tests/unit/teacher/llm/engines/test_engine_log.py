from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from teacher.llm.engines.engine_log import EngineLog


def test_the_log_takes_what_child_processes_write_and_gives_the_terminal_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = EngineLog(tmp_path / "logs" / "engine.log")
    with log.capture():
        subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('from the child\\n')"], check=True)
    sys.stderr.write("from the parent\n")
    assert log.path.read_text() == "from the child\n"
    assert capfd.readouterr().err == "from the parent\n"


def test_the_reason_is_what_the_last_exception_says(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "engine.log")
    log.path.write_text(
        "INFO loading\n"
        "(EngineCore pid=7) ERROR 11-22 10:00:00 [core.py:1] ValueError: first\n"
        "(EngineCore pid=7) ERROR 11-22 10:00:00 [core.py:1] torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB\n"
        "Process EngineCore:\n"
    )
    assert log.reason() == "CUDA out of memory. Tried 2 GiB"


def test_a_log_without_exceptions_gives_no_reason(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "engine.log")
    assert log.reason() is None
    log.path.write_bytes(b"\xff all is well\n")
    assert log.reason() is None
