"""A Ray cluster to run on: the one that the user names, or a local one for the time of the run."""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cluster.runtime.chatter import chatter_to, session_chatter_to
from cluster.runtime.errors import version_mismatch
from cluster.runtime.head import head_watched
from cluster.runtime.logs import ray_log_folder, ray_warnings_logged
from cluster.runtime.old_sessions import drop_old_sessions
from cluster.runtime.private import private_folder
from cluster.runtime.raylet import raylet_watched
from cluster.runtime.temporary import files_in, temporary_folder
from teacher.errors import GallonError, UsageError
from teacher.wording import counted

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
LEAST_FREE_BYTES = 1 << 26  # for Ray's logs and sockets
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
HOST_AND_PORT = re.compile(r"(?P<host>[^\s:/@\[\]]+|\[[0-9A-Fa-f:.%\w]+\]):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a machine of the cluster has."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySession:
    """A connection to Ray.

    Attributes:
        address: host and port of the cluster's head, as it calls itself.
        local: whether the cluster is this machine alone, started for this run.
        dashboard: URL of the dashboard, or None.
        logs: folder of Ray's logs on each node.
        nodes: the machines that the cluster had when it was joined; `living_nodes` are those that it has now.
        asked: what the user calls it, which may be another name of the same machine.
    """

    address: str
    local: bool
    dashboard: str | None
    logs: Path
    nodes: tuple[Node, ...]
    asked: str | None = None

    @property
    def cpus(self) -> float:
        """CPUs of all machines."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """GPUs of all machines."""
        return sum(node.gpus for node in self.nodes)

    def room(self, cpus: float, gpus: float) -> int:
        """Return how many workers that take so much of one machine each the machines can hold."""
        return sum(int(min(node.cpus // cpus, node.gpus // gpus if gpus else math.inf)) for node in self.nodes)


_open: list[RaySession] = []  # the session that this process is in, if it is in one


@contextmanager
def ray_session(address: str | None) -> Iterator[RaySession]:
    """Connect to the Ray cluster at `address` or in RAY_ADDRESS, or start a local one; disconnect at the end.

    Inside a session this is the same session again, so that several calls can share one cluster.

    Raises:
        UsageError: the address is none that a cluster can be joined by, or this process is in a session of another.
        GallonError: no cluster answers at the address, it does not let us in, or none can be started here.
    """
    if _open:
        yield _same(_open[-1], address)
        return
    with _connected(address) as session:
        _open.append(session)
        try:
            yield session
        finally:
            _open.remove(session)


def session_here() -> RaySession:
    """Return the cluster that this process is a worker of; outside of one, a cluster that has no machines yet."""
    import ray

    if not ray.is_initialized():
        return RaySession(address="", local=False, dashboard=None, logs=Path(), nodes=())
    return RaySession(
        address=ray.get_runtime_context().gcs_address,
        local=False,
        dashboard=None,
        logs=ray_log_folder(),
        nodes=living_nodes(),
    )


def living_nodes() -> tuple[Node, ...]:
    """Return the machines that the cluster of this process has now."""
    import ray

    return tuple(_node(known["Resources"]) for known in ray.nodes() if known["Alive"])


def in_session() -> bool:
    """Tell whether this process is in a session, which takes no time to join."""
    return bool(_open)


def _same(session: RaySession, address: str | None) -> RaySession:
    """Return the session that this process is in, if it is the one that is meant."""
    if address not in {None, "auto", session.address, session.asked}:
        raise UsageError(
            f"This process uses the Ray cluster at {session.address} already, and not {address}: end that session "
            "first, or leave out the address."
        )
    return session


@contextmanager
def _connected(address: str | None) -> Iterator[RaySession]:
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    local = not address or address == "local"
    with temporary_folder(private_folder(LEAST_FREE_BYTES)) if local else nullcontext() as temporary:
        with _unnamed_passwords():
            context = _start(temporary, quiet) if temporary else _join(str(address), quiet)
        try:
            _take_back_sigterm(on_sigterm)
            with _in_cluster(context.dashboard_url, address, local=local) as session:
                yield session
        finally:
            ray.shutdown()  # where the session could not even begin


def _take_back_sigterm(handler: Any) -> None:
    """Undo that Ray puts a handler of its own in the place of ours, which ends the run at once.

    Only the main thread may, and only there Ray does. A handler that was not set from Python is None, and is lost.
    """
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _in_cluster(dashboard: str | None, asked: str | None, *, local: bool) -> Iterator[RaySession]:
    """Describe the cluster that this process has joined, log what it warns of, and leave it at the end."""
    import ray

    logs = ray_log_folder()
    head = ray.get_runtime_context().gcs_address
    with session_chatter_to(logs / "gallon-driver.log") as screen:
        try:
            session = RaySession(
                address=head,
                local=local,
                dashboard=dashboard and f"http://{dashboard}",
                logs=logs,
                nodes=living_nodes(),
                asked=asked,
            )
            logger.info("%s, with its logs in %s", _told(session, head), logs)
            with ray_warnings_logged(), head_watched(head, screen), raylet_watched(logs, screen):
                yield session
        finally:
            ray.shutdown()
            logger.info("the Ray cluster at %s is %s", head, "stopped" if local else "left")


def token_place() -> str | None:
    """Say where the token lies that Ray and its dashboard ask this process for; None where they ask for none.

    Ray looks for it in this order, and says in RAY_AUTH_MODE whether it is asked for.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return None
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "the environment variable RAY_AUTH_TOKEN"
    return os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"


def _told(session: RaySession, head: str) -> str:
    """Say what was started or joined."""
    machines = f"{counted(len(session.nodes), 'machine')}, {session.cpus:g} CPUs and {session.gpus:g} GPUs"
    return f"{'started' if session.local else 'joined'} the Ray cluster at {head} of {machines}"


def _node(resources: dict[str, float]) -> Node:
    return Node(cpus=resources.get("CPU", 0.0), gpus=resources.get("GPU", 0.0))


def _start(temporary: Path, quiet: dict[str, Any]) -> Any:
    """Start a cluster on this machine, with its files where only this user reads them, and on short paths.

    Args:
        temporary: for the temporary files of its processes; Ray's own stay longer, and lie beside it.
        quiet: settings that keep Ray from writing on the screen.

    Raises:
        GallonError: Ray does not start.
    """
    folder = temporary.parent
    _provide_token(folder / "ray-token")
    drop_old_sessions(folder / "ray")
    os.environ.setdefault("RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE", "1")  # or else a small /dev/shm ends the run
    # Two logical cores at the least: reading, parsing and annotating each need a share to run side by side.
    cores = max(2, os.cpu_count() or 2)
    others = os.umask(0o077)
    settings = {"num_cpus": cores, "object_store_memory": _store_bytes(), "_temp_dir": str(folder / "ray"), **quiet}
    try:
        with files_in(temporary):
            return _start_patiently(settings)
    # Among what Ray raises where it does not start is a plain Exception.
    except Exception as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0].rstrip(".")
        raise GallonError(
            f"Ray does not start on this machine ({reason}): its logs are in {folder}/ray/session_latest/logs."
        ) from error
    finally:
        os.umask(others)


def _start_patiently(settings: dict[str, Any]) -> Any:
    """Start Ray; on a busy machine, where it gives itself up after 30 s, once more."""
    import ray

    start = partial(ray.init, address="local", include_dashboard=True, namespace="gallon", **settings)
    try:
        return start()
    except Exception as error:
        if type(error) is not Exception:  # all but its own patience has a type
            raise
        logger.warning("Ray gave its start up (%s), and is started once more", error)
        ray.shutdown()
        return start()


def _provide_token(file: Path) -> None:
    """Give Ray a token in a place of ours, unless the user names one: its own place is a readable file in the home."""
    if any(os.environ.get(name) for name in TOKEN_VARIABLES):
        return
    if not file.is_file():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            opened.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(file)


def _store_bytes() -> int:
    """Return what Ray would give its object store, but never less than it starts with: memory may be short just now."""
    from ray._private import ray_constants, utils

    usual = utils.resolve_object_store_memory(utils.estimate_available_memory())
    least: int = ray_constants.OBJECT_STORE_MINIMUM_MEMORY_BYTES
    return max(int(usual), least)


def _join(address: str, quiet: dict[str, Any]) -> Any:
    """Connect to a running cluster.

    Raises:
        UsageError: the address is none that a cluster can be joined by.
        GallonError: nobody answers there, or not to us.
    """
    import ray
    from ray.exceptions import AuthenticationError

    address = _head_of(address)
    denied = GallonError(
        f"The Ray cluster at {address} does not let us in: put its token into RAY_AUTH_TOKEN, or the path of the "
        "token's file into RAY_AUTH_TOKEN_PATH, or correct the address."
    )
    try:
        with chatter_to(Path(os.devnull)):  # with a wrong token each of many tries is a warning
            if not _lets_us_in(address):
                raise denied
            return ray.init(address=address, namespace="gallon", **quiet)
    except AuthenticationError as error:
        raise denied from error
    except (OSError, RuntimeError, ValueError) as error:
        if mismatch := version_mismatch(address, error):
            raise mismatch from error
        reason = str(error.__cause__ or error).strip().split("\n", maxsplit=1)[0].rstrip(".")
        raise GallonError(
            f"The Ray cluster at {address} cannot be joined from here ({reason}): a driver wants a node of its cluster "
            f"on its machine, and in its container; 'ray start --address={address}' starts one."
        ) from error


def _head_of(address: str) -> str:
    """Return host and port of the head of the cluster that a user names.

    Raises:
        UsageError: the address is none that a cluster can be joined by.
        GallonError: `auto` finds no cluster on this machine.
    """
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    from ray._private.services import canonicalize_bootstrap_address

    if address == "auto":
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)  # as Ray itself does for this word alone
        try:
            found = canonicalize_bootstrap_address("auto")
        except ConnectionError:
            found = None
        if not found:
            raise GallonError(
                "No Ray cluster runs on this machine: start one, name its head by --ray HOST:PORT, or leave out --ray "
                "and RAY_ADDRESS to have one started."
            )
        return str(found)
    if not HOST_AND_PORT.fullmatch(address):
        shown = "This" if "@" in address else f"'{address}'"
        raise UsageError(
            f"{shown} is no address by which a Ray cluster can be joined: --ray or RAY_ADDRESS should be HOST:PORT of "
            "its head, whose port is 6379 unless it was chosen (http:// is that of the dashboard, ray:// that of "
            "Ray Client)."
        )
    return address


def _lets_us_in(address: str) -> bool:
    """Knock at the head of a cluster and return whether it lets us in: Ray itself would try for minutes.

    Raises:
        GallonError: no head of a cluster answers there.
    """
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated.gcs_service_pb2 import CheckAliveRequest
    from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

    host, _, port = address.rpartition(":")
    channel = None
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
        channel = init_grpc_channel(address, options=[("grpc.enable_http_proxy", 0)])
        NodeInfoGcsServiceStub(channel).CheckAlive(CheckAliveRequest(), timeout=CONNECT_SECONDS)
    except grpc.RpcError as error:
        if error.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
            return False
        raise _nobody(address, "what listens there is no head of a Ray cluster") from None
    except (OSError, OverflowError, UnicodeError) as error:
        raise _nobody(address, getattr(error, "strerror", None) or str(error)) from None
    finally:
        if channel is not None:
            channel.close()
    return True


def _nobody(address: str, reason: str) -> GallonError:
    return GallonError(
        f"No Ray cluster answers at {address} ({reason}): start one, correct the address, or leave out --ray and "
        "RAY_ADDRESS to use this machine."
    )


@contextmanager
def _unnamed_passwords() -> Iterator[None]:
    """Hide passwords in the command line, which Ray notes with the job for whoever sees its dashboard."""
    from ray._private import utils

    command_line = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: re.sub(r"://.*@", "://***@", command_line(), flags=re.DOTALL)
    try:
        yield
    finally:
        utils.get_entrypoint_name = command_line
