"""A folder for the temporary files of what a session of Ray starts, which goes with the session.

Ray ends its workers, and the engines in them, at once, so that they leave their sockets and folders behind: three of
vLLM's sockets and a folder of Python's for each run.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "tmp-"
LOCK = "lock"  # held as long as the session goes on
COMPILED = "torchinductor"  # what is compiled serves the next session, too
SILENT_SECONDS = 3600.0  # after which a folder without a lock is not in the making any more


@contextmanager
def temporary_folder(within: Path) -> Iterator[Path]:
    """Make a folder that is removed at the end; what killed sessions have left goes, too.

    Args:
        within: a folder of the user's own, whose path is short: to a socket's, of 107 bytes at most, Python adds 32 and
            vLLM 37.
    """
    for folder in within.glob(f"{PREFIX}*"):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=within))
    with (folder / LOCK).open("wb") as lock:
        with suppress(OSError):  # on a disk that knows no locks, where nobody removes what a killed session left
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # something may still be at its end, and write


@contextmanager
def files_in(folder: Path) -> Iterator[None]:
    """Let the processes that are started meanwhile, and all that they start, put temporary files into a folder."""
    ours = {"TMPDIR": str(folder)}
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        ours["TORCHINDUCTOR_CACHE_DIR"] = str(folder.parent / COMPILED)
    usual = {name: os.environ[name] for name in ours if name in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(usual)


def _is_left(folder: Path) -> bool:
    """Tell whether the session of a folder has ended."""
    try:
        with (folder / LOCK).open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return folder.is_dir() and time.time() - folder.stat().st_mtime > SILENT_SECONDS
    except OSError:  # it is held, or this disk knows no locks
        return False
    return True
