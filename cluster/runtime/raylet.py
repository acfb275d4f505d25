"""Is the Ray of this machine still there? Ray ends a driver whose raylet has died at once, and without a word."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from teacher.wording import plain

# Ray ends the driver from a thread of its own, in the moment that it misses the raylet, and nothing of Python runs
# after that: another process has to say so. It waits for a line from the driver, or for the end of it, and then looks
# whether the raylet is gone (or a zombie). Which of both died first it cannot tell: a raylet follows the driver that
# started it.
WAIT_AND_SAY = """
read -r done && exit
case "$(cat "/proc/$1/stat" 2>/dev/null)" in "" | *") Z "* | *") X "*) printf '%s\\n' "$2" >&2 ;; esac
"""
PEER = struct.Struct("iII")  # as SO_PEERCRED has it: process, user, group


@contextmanager
def raylet_watched(logs: Path, screen: int) -> Iterator[None]:
    """Have one sentence said where this process ends unforeseen, and its raylet, Ray's own on this machine, has died.

    Args:
        logs: Ray's folder of logs on this machine.
        screen: the file descriptor that the user reads.
    """
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", WAIT_AND_SAY, "gallon", str(_raylet()), f"gallon: {plain(_sentence(logs))}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=screen,
        start_new_session=True,  # an interrupt is for the driver
    )
    assert watcher.stdin is not None
    try:
        yield
    finally:
        with suppress(BrokenPipeError):  # whoever ends all processes of the user ends this one, too
            watcher.stdin.write(b"done\n")
            watcher.stdin.close()
        watcher.wait()


def _raylet() -> int:
    """Return the raylet's process: that which listens at the socket through which this one speaks with it."""
    from ray._private.worker import _global_node as node

    with socket.socket(socket.AF_UNIX) as knock:
        knock.connect(node.raylet_socket_name)
        process, _, _ = PEER.unpack(knock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
    return int(process)


def _sentence(logs: Path) -> str:
    return (
        "This command, or Ray's process on this machine, was killed, as where memory or processor time runs out "
        f"({logs}/raylet.err may say why): run the same command again; everything acknowledged so far is kept."
    )
