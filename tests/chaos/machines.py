"""A Ray cluster of two machines, as processes on this one: a head that computes nothing, and one that annotates."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import psutil

CPUS = 4  # logical ones: enough for two runs at the same time
START_SECONDS = 120.0
TRIES = 3  # to start one: on a busy machine Ray's own processes now and then do not find each other
HOST = "127.0.0.1"
STARTED = "Ray runtime started"


class Machines:
    """A cluster that runs are attached to; what dies of it can be replaced."""

    def __init__(self) -> None:
        # A cluster asks for a token, so drivers need it too; and a machine may be busy when it starts.
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_raylet_start_wait_time_s": str(round(START_SECONDS)),
        }
        self._start()

    @property
    def address(self) -> str:
        """The address for `--ray`."""
        return f"{HOST}:{self._port}"

    @property
    def head(self) -> psutil.Process:
        """The cluster's control store."""
        return _child(self._head, "gcs_server")

    @property
    def raylet(self) -> psutil.Process:
        """The raylet of the machine that annotates."""
        return _child(self._annotating, "raylet")

    def replace_annotating(self) -> None:
        """Put a new machine in the place of one whose raylet has died."""
        self._running.remove(self._annotating)
        _end(self._annotating)
        self._annotating = self._machine(f"--address={self.address}", f"--num-cpus={CPUS}")

    def replace_all(self) -> None:
        """Put a new cluster in the place of one whose head has died."""
        self.close()
        self._start()

    def close(self) -> None:
        """Kill everything at once."""
        while self._running:
            _end(self._running.pop())
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []
        self._folder = tempfile.mkdtemp(prefix="ray-")  # short, since sockets lie in it
        self._port = _free_port()
        where = [f"--port={self._port}", f"--temp-dir={self._folder}"]
        # Ray wants the port of a dashboard to be free even where there is to be none.
        dashboard = ["--include-dashboard=false", f"--dashboard-port={_free_port()}"]
        self._head = self._machine("--head", *where, *dashboard, "--num-cpus=0")
        self._annotating = self._machine(f"--address={self.address}", f"--num-cpus={CPUS}")

    def _machine(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a machine, in a session of its own, and wait until Ray says that it runs."""
        for _ in range(TRIES):
            machine, said = self._tried(options)
            if STARTED in said:
                self._running.append(machine)
                return machine
            _end(machine)
        self.close()
        raise RuntimeError(said)

    def _tried(self, options: Sequence[str]) -> tuple[subprocess.Popen[bytes], str]:
        """Start a machine; return it with what Ray said, the last of it being that it runs or nothing in time."""
        ray = str(Path(sys.executable).with_name("ray"))
        ports = ["--node-manager-port=0", "--object-manager-port=0", "--dashboard-agent-listen-port=0"]
        command = [ray, "start", "--block", f"--node-ip-address={HOST}", "--object-store-memory=150000000", *ports]
        said = Path(self._folder) / f"machine-{secrets.token_hex(4)}.log"
        with said.open("wb") as log:
            machine = subprocess.Popen(
                [*command, *options],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while STARTED not in said.read_text() and machine.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return machine, said.read_text()[-2_000:]


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _child(machine: subprocess.Popen[bytes], program: str) -> psutil.Process:
    (process,) = _children(machine, program)
    return process


def _children(machine: subprocess.Popen[bytes], program: str) -> list[psutil.Process]:
    try:
        children = psutil.Process(machine.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child for child in children if _program(child) == program]


def _program(process: psutil.Process) -> str:
    try:
        return Path(process.exe()).name
    except psutil.Error:
        return ""


def _end(machine: subprocess.Popen[bytes]) -> None:
    """Kill all processes of a machine."""
    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            if os.getsid(process.pid) == machine.pid:
                os.kill(process.pid, signal.SIGKILL)
    machine.wait()
