"""A folder of the user's own for what a run needs for its time: sockets, session files, a token.

A Unix socket's path may have 107 bytes, so the folder's path has to be short, whatever TMPDIR says.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from teacher.errors import GallonError
from teacher.files import check_folder

LONGEST_PATH = 36  # of the folder: Ray adds up to 68 bytes, and 3 are to spare
BASES = ("/tmp", "/var/tmp", "/dev/shm")


def private_folder(least_free: int = 0) -> Path:
    """Return a folder that only this user can enter, with a short path; it is made where it is missing.

    Args:
        least_free: bytes that its disk must have free.

    Raises:
        GallonError: there is no place for one.
    """
    wanted = [os.environ.get(name) for name in ("RAY_TMPDIR", "TMPDIR", "XDG_RUNTIME_DIR")]
    bases = [*filter(None, wanted[:2]), *BASES, *filter(None, wanted[2:])]
    for base in bases:
        folder = Path(base).absolute() / f"gallon-{os.getuid()}"
        if len(os.fsencode(folder)) <= LONGEST_PATH and _is_ours(folder, least_free):
            return folder
    raise GallonError(
        f"None of the folders for temporary files ({', '.join(dict.fromkeys(bases))}) has a short path, can be written "
        "and has room: free some space, or set TMPDIR to such a folder."
    )


def _is_ours(folder: Path, least_free: int) -> bool:
    """Make the folder, and tell whether it is ours alone and can be filled."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
            return False  # somebody else was here first
        folder.chmod(0o700)
        check_folder(folder)
        return shutil.disk_usage(folder).free >= least_free
    except (OSError, GallonError):
        return False
