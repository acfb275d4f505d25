"""A front that listens itself, so that no proxy stands between it and who asks.

Ray Serve's proxy takes as long over a stored answer as the front does, and hands every message of it to another process
by Ray. Here the fronts share one port, and the kernel deals new connections out among those that listen
(SO_REUSEPORT).
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from fastapi import FastAPI

from cluster.service.app import build_app
from cluster.service.front import Front, FrontSettings
from teacher.errors import GallonError, UsageError

KEEP_ALIVE_SECONDS = 90  # that an idle connection is kept: longer than clients do, or they ask into closed ones
BACKLOG = 2048  # connections that wait to be taken


def bind(host: str, port: int, *, shared: bool = True) -> socket.socket:
    """Return a socket that listens at an address.

    Args:
        host: an IP address of this machine, or its name.
        port: of that address.
        shared: with other processes of this user that ask for that, too.

    Raises:
        UsageError: another process has the address, or it is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
    except OSError as error:
        raise UsageError(
            f"The service cannot listen at {url_of(host, port)}: {error.strerror}; choose another --port or --host."
        ) from None
    # Which its connections inherit: or else an answer's body waits 40 ms for the client to confirm the headers.
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return taken


def url_of(host: str, port: int) -> str:
    """Return where a service is reached that listens there."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Listener:
    """Answers requests that come to a socket by an application, in the running event loop."""

    def __init__(self, app: FastAPI, taken: socket.socket) -> None:
        from uvicorn import Config, Server

        config = Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._server = Server(config)
        self._serving = asyncio.get_running_loop().create_task(self._server.serve([taken]))

    @property
    def listens(self) -> bool:
        """Whether it still does."""
        return not self._serving.done()

    async def stop(self) -> None:
        """Take no more connections, close those that are idle, and finish the requests in hand."""
        self._server.should_exit = True
        await self._serving


class ListeningFront(Front):
    """A front with a listener of its own; to be deployed by Ray Serve, without a route.

    Args:
        settings, annotators, predictors: as for any front.
        host, port: where it listens, together with the other fronts on its machine.

    Raises:
        UsageError: another process has the address.
    """

    def __init__(self, settings: FrontSettings, annotators: Any, predictors: Any, host: str, port: int) -> None:
        super().__init__(settings, annotators, predictors)
        self._listener = Listener(build_app(self), bind(host, port))

    async def check_health(self) -> None:
        """Have a front replaced that does not listen any more.

        Raises:
            GallonError: it does not.
        """
        if not self._listener.listens:
            raise GallonError("The front does not listen any more.")

    async def __del__(self) -> None:
        """Finish what is in hand; Ray Serve calls this before it stops a replica."""
        await self._listener.stop()
