"""What Ray leaves on this machine when it ends, some megabytes a time: a few of these folders stay, for their logs."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

KEPT = 20  # folders of sessions
AT_ONCE = 10  # of those before: a slow disk takes a fifth of a second for one, and a command waits
SILENT_SECONDS = 3600.0  # after which a session has ended: a running one writes down its state every ten


def drop_old_sessions(folder: Path) -> None:
    """Remove what the oldest of the ended sessions of Ray have left in its folder."""
    sessions = sorted(path for path in folder.glob("session_2*") if not path.is_symlink())  # named by their time
    for session in sessions[:-KEPT][:AT_ONCE]:
        with suppress(OSError):  # another process removes it, too
            if time.time() - _last_written(session) > SILENT_SECONDS:
                shutil.rmtree(session)


def _last_written(session: Path) -> float:
    return max(path.stat().st_mtime for path in [session, *(session / "logs").glob("*")])
