"""Logs: into which file, who can read it, and what never stands in it."""

from __future__ import annotations

import io
import logging
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from logging.handlers import BufferingHandler
from pathlib import Path

import pytest

from cluster.runtime import logs
from cluster.runtime.logs import PACKAGES, log_folder, log_in_worker, logging_to, ray_warnings_logged, worker_level

OURS = logging.getLogger("cluster.somewhere")


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    yield
    for name in PACKAGES:
        ours = logging.getLogger(name)
        ours.setLevel(logging.NOTSET)
        for handler in [each for each in ours.handlers if isinstance(each, logs.LogFile)]:
            ours.removeHandler(handler)
            handler.close()


@pytest.mark.parametrize(
    ("verbose", "logged", "shown"),
    [(0, "warned told", ""), (1, "warned told", "warned told"), (2, "warned told spelt", "warned told spelt")],
)
def test_a_command_logs_into_a_file_and_shows_what_is_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], verbose: int, logged: str, shown: str
) -> None:
    with logging_to(tmp_path / "logs", "annotate", verbose=verbose) as path:
        OURS.warning("warned")
        OURS.info("told")
        OURS.debug("spelt")
    OURS.warning("after the end")
    assert [line.split()[-1] for line in path.read_text().splitlines()] == logged.split()
    told = [line for line in capfd.readouterr().err.splitlines() if "after the end" not in line]
    assert [line.split()[-1] for line in told] == shown.split()
    assert path.name.startswith("annotate-")


def test_on_a_terminal_a_line_takes_the_place_of_a_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    master, terminal = pty.openpty()
    monkeypatch.setattr("os.dup", lambda _: terminal)
    with logging_to(tmp_path, "annotate", verbose=1) as path:
        OURS.info("told")
        shown = os.read(master, 1_000)
    os.close(master)
    assert shown.startswith(b"\r\x1b[2K") and shown.rstrip().endswith(b"told")
    assert "\x1b" not in path.read_text()


def test_whoever_displays_progress_shows_lines_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = BufferingHandler(10)
    with logging_to(tmp_path, "annotate", verbose=1, terminal=shown):
        OURS.info("told")
        assert [record.getMessage() for record in shown.buffer] == ["told"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_logged_and_the_root_logger_is_left_alone(tmp_path: Path, package: str) -> None:
    before = (logging.root.level, list(logging.root.handlers))
    with logging_to(tmp_path, "teach") as path:
        logging.getLogger(f"{package}.module").info("told")
        logging.getLogger("others").warning("told")
        assert (logging.root.level, list(logging.root.handlers)) == before
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize("package", ["cluster", "distill", "teacher"])
def test_whoever_imports_a_package_and_asks_for_no_log_sees_none(package: str) -> None:
    code = f"import logging, {package}; logging.getLogger('{package}.module').error('told')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout + done.stderr == ""


def test_only_the_user_reads_a_log(tmp_path: Path) -> None:
    with logging_to(tmp_path / "logs", "annotate") as path:
        OURS.info("told")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_command_that_has_nothing_to_say_leaves_no_log(tmp_path: Path) -> None:
    with logging_to(tmp_path, "status") as path:
        pass
    assert not path.exists()


def test_the_last_logs_of_each_command_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "KEPT", 3)
    (tmp_path / "teach-1.log").touch()
    for number in range(5):
        monkeypatch.setattr("os.getpid", lambda number=number: number)
        with logging_to(tmp_path, "annotate"):
            OURS.info("told")
    kept = sorted(file.name.rpartition("-")[2] for file in tmp_path.glob("annotate-*"))
    assert kept == ["2.log", "3.log", "4.log"]
    assert (tmp_path / "teach-1.log").exists()


def test_a_log_that_grows_too_large_is_set_aside_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LARGEST_BYTES", 1000)
    with logging_to(tmp_path, "annotate") as path:
        for number in range(100):
            OURS.info("line %d", number)
    assert path.read_text().endswith("line 99\n")
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2000
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in tmp_path.iterdir())


def test_a_log_that_cannot_be_written_costs_the_command_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with logging_to(tmp_path / "file" / "logs", "annotate"):
        OURS.warning("told")
    assert capfd.readouterr().err == ""


def test_what_others_wrote_begins_no_line_and_steers_no_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with logging_to(tmp_path, "annotate", verbose=1) as path:
        OURS.info("an answer: %s", "a\x1b[31mred\x07\nWARNING forged")
        try:
            raise ValueError("b\x1b[31m\nforged")
        except ValueError:
            OURS.exception("raised")
    for text in (path.read_text(), capfd.readouterr().err):
        assert "\x1b" not in text and "\x07" not in text
        assert not [line for line in text.splitlines() if line.startswith("WARNING")]


@pytest.mark.parametrize("password", ["Sekret", "Sek/ret", "Sek@ret", "Sek ret"])
def test_no_password_of_a_url_is_logged(tmp_path: Path, password: str) -> None:
    with logging_to(tmp_path, "annotate") as path:
        OURS.warning("cannot reach %s", f"redis://gallon:{password}@host:6379/0")
        try:
            raise OSError(f"rediss://:{password}@host")
        except OSError:
            OURS.exception("raised")
    text = path.read_text()
    assert "redis://***@host:6379/0" in text and "rediss://***@host" in text
    assert "Sek" not in text and "gallon:" not in text


def test_without_a_home_folder_logs_are_in_the_private_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert log_folder() == tmp_path / ".gallon" / "logs"
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr(logs, "private_folder", lambda: tmp_path / "private")
    assert log_folder() == tmp_path / "private" / "logs"


def test_a_worker_logs_once_however_often_its_process_is_used(tmp_path: Path) -> None:
    for _ in range(2):
        path = log_in_worker(tmp_path, "annotator")
    OURS.info("told")
    OURS.debug("spelt")
    assert path.name.startswith("annotator-")
    assert len(path.read_text().splitlines()) == 1


def test_workers_log_as_much_as_their_driver_and_what_happens_at_the_least(tmp_path: Path) -> None:
    assert worker_level() == logging.INFO
    with logging_to(tmp_path, "annotate", verbose=2):
        assert worker_level() == logging.DEBUG


def test_only_rays_own_console_is_silent_while_its_warnings_are_logged() -> None:
    from ray._private.log import PlainRayHandler

    rays, others = logging.getLogger("ray"), logging.StreamHandler(io.StringIO())
    consoles = [handler for handler in rays.handlers if isinstance(handler, PlainRayHandler)]
    rays.addHandler(others)
    try:
        with ray_warnings_logged():
            assert min(handler.level for handler in consoles) > logging.CRITICAL
            rays.warning("a pool cannot grow")
    finally:
        rays.removeHandler(others)
    assert others.stream.getvalue() == "a pool cannot grow\n"
