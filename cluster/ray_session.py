"""A Ray cluster to run on: the one that the user names, or a local one for the time of the run."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cluster.head import head_watched
from teacher.errors import GallonError

CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a machine of the cluster has."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySession:
    """A connection to Ray.

    Attributes:
        local: whether the cluster is this machine alone, started for this run.
        dashboard: URL of the dashboard, or None.
        logs: folder of Ray's logs on each node.
        nodes: the machines that the cluster has now.
    """

    local: bool
    dashboard: str | None
    logs: Path
    nodes: tuple[Node, ...]

    @property
    def cpus(self) -> float:
        """CPUs of all machines."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """GPUs of all machines."""
        return sum(node.gpus for node in self.nodes)


@contextmanager
def ray_session(address: str | None) -> Iterator[RaySession]:
    """Connect to the Ray cluster at `address` or in RAY_ADDRESS, or start a local one; disconnect at the end.

    Raises:
        GallonError: no cluster answers at the address, or it does not let us in.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    import ray

    address = address or os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if address:
        context = _join(address, quiet)
    else:
        # Two logical cores at the least: reading, parsing and annotating each need a share to run side by side.
        cores = max(2, os.cpu_count() or 2)
        context = ray.init(address="local", num_cpus=cores, include_dashboard=True, namespace="gallon", **quiet)
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts a handler of its own in its place, which ends the run at once
    logs = Path(ray._private.worker._global_node.get_logs_dir_path())
    head = ray.get_runtime_context().gcs_address
    with _chatter_to(logs / "gallon-driver.log") as screen:
        try:
            with head_watched(head, screen):
                yield RaySession(
                    local=not address,
                    dashboard=context.dashboard_url and f"http://{context.dashboard_url}",
                    logs=logs,
                    nodes=tuple(_node(known["Resources"]) for known in ray.nodes() if known["Alive"]),
                )
        finally:
            ray.shutdown()


def token_place() -> str | None:
    """Say where the token lies that Ray and its dashboard ask this process for; None where they ask for none.

    Ray looks for it in this order, and says in RAY_AUTH_MODE whether it is asked for.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return None
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "the environment variable RAY_AUTH_TOKEN"
    return os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"


def _node(resources: dict[str, float]) -> Node:
    return Node(cpus=resources.get("CPU", 0.0), gpus=resources.get("GPU", 0.0))


def _join(address: str, quiet: dict[str, Any]) -> Any:
    """Connect to a running cluster.

    Raises:
        GallonError: nobody answers there, or not to us.
    """
    import ray
    from ray.exceptions import AuthenticationError

    _check_answers(address)
    try:
        with _chatter_to(Path(os.devnull)):  # with a wrong token each of many tries is a warning
            return ray.init(address=address, namespace="gallon", **quiet)
    except (ConnectionError, AuthenticationError) as error:
        raise GallonError(
            f"The Ray cluster at {address} does not let us in: put its token into RAY_AUTH_TOKEN, or the path of the "
            "token's file into RAY_AUTH_TOKEN_PATH, or correct the address."
        ) from error


def _check_answers(address: str) -> None:
    """Knock at a cluster's address: Ray itself would try for minutes.

    Raises:
        GallonError: nobody answers there.
    """
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.port is None:
        return  # a word such as `auto`, which Ray looks up by itself
    try:
        socket.create_connection((place.hostname, place.port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise GallonError(
            f"No Ray cluster answers at {address} ({error.strerror or error}): start one, correct the address, "
            "or leave out --ray and RAY_ADDRESS to use this machine."
        ) from None


@contextmanager
def _chatter_to(log: Path) -> Iterator[int]:
    """Send what Ray's libraries write to standard error, in Python and in C++, to a log file.

    Yields:
        The file descriptor of what standard error was before.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield kept
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
