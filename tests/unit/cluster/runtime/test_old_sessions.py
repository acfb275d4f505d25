"""What Ray leaves behind: what stays of it, and what goes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cluster.runtime.old_sessions import KEPT, SILENT_SECONDS, drop_old_sessions


def test_the_last_sessions_stay_and_those_that_still_go_on(tmp_path: Path) -> None:
    silent = time.time() - 2 * SILENT_SECONDS
    sessions = [_session(tmp_path, minute, silent) for minute in range(KEPT + 3)]
    running = sessions[1]
    os.utime(running / "logs" / "debug_state.txt")
    latest = tmp_path / "session_latest"
    latest.symlink_to(sessions[-1])

    drop_old_sessions(tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted([running, *sessions[-KEPT:], latest])


def test_a_machine_without_sessions_has_none_to_drop(tmp_path: Path) -> None:
    drop_old_sessions(tmp_path / "ray")


def _session(folder: Path, minute: int, written: float) -> Path:
    session = folder / f"session_2026-01-01_00-{minute:02}-00_000000_1"
    (session / "logs").mkdir(parents=True)
    (session / "logs" / "debug_state.txt").write_text("alive")
    for path in (session / "logs" / "debug_state.txt", session):
        os.utime(path, (written, written))
    return session
