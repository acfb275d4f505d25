"""The folder for temporary files of a session: when it goes, and when it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cluster.runtime.temporary import LOCK, SILENT_SECONDS, files_in, temporary_folder

SESSION = """
import sys, time
from pathlib import Path
from cluster.runtime.temporary import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    time.sleep(600)
"""
WHERE = "import tempfile; print(tempfile.gettempdir())"


def test_a_folder_goes_with_its_session_whatever_lies_in_it(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder:
        (folder / "pymp-1").mkdir()
        (folder / "pymp-1" / "socket").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_session_left_goes_with_the_next_and_not_what_one_uses(tmp_path: Path) -> None:
    session = subprocess.Popen([sys.executable, "-c", SESSION, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert session.stdout is not None
    used = Path(session.stdout.readline().strip())
    with temporary_folder(tmp_path) as folder:
        assert {used, folder} == set(tmp_path.iterdir())
    session.send_signal(signal.SIGKILL)
    session.communicate()
    assert used.is_dir()
    with temporary_folder(tmp_path) as folder:
        assert [folder] == list(tmp_path.iterdir())


def test_a_folder_in_the_making_stays(tmp_path: Path) -> None:
    new, old = tmp_path / "tmp-new", tmp_path / "tmp-old"
    new.mkdir()
    old.mkdir()
    long_ago = time.time() - 2 * SILENT_SECONDS
    os.utime(old, (long_ago, long_ago))
    with temporary_folder(tmp_path) as folder:
        assert {new, folder} == set(tmp_path.iterdir())
        assert (folder / LOCK).exists()


def test_what_is_compiled_outlives_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    with temporary_folder(tmp_path) as folder, files_in(folder):
        compiled = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        compiled.mkdir()
    assert compiled.is_dir() and "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_processes_that_are_started_meanwhile_put_their_files_there(tmp_path: Path) -> None:
    usual = os.environ.get("TMPDIR")
    with files_in(tmp_path):
        found = subprocess.run([sys.executable, "-c", WHERE], capture_output=True, text=True, check=True).stdout
    assert found.strip() == str(tmp_path)
    assert os.environ.get("TMPDIR") == usual and tempfile.gettempdir() != str(tmp_path)
