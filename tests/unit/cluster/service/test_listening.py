"""A front's own listener: whom it shares its port with, and what becomes of requests when it stops."""

from __future__ import annotations

import asyncio
import errno
import socket

import httpx
import pytest
from fastapi import FastAPI

from cluster.service.listening import Listener, bind, url_of
from teacher.errors import UsageError

HOST = "127.0.0.1"
SECONDS = 20.0  # in which any of this is over


def port_of(taken: socket.socket) -> int:
    return int(taken.getsockname()[1])


def test_fronts_share_a_port_that_others_are_refused() -> None:
    with bind(HOST, 0) as first, bind(HOST, port_of(first)) as second:
        assert first.getsockname() == second.getsockname()
        with pytest.raises(UsageError, match=rf"^The service cannot listen at http://{HOST}:\d+: .*; choose another"):
            bind(HOST, port_of(first), shared=False)


def test_on_loopback_a_front_listens_there_and_nowhere_else() -> None:
    with bind(HOST, 0) as taken:
        assert taken.getsockname()[0] == HOST
        with socket.create_server(("127.0.0.2", port_of(taken))):
            pass


def test_an_answer_does_not_wait_until_the_client_confirms_its_headers() -> None:
    with bind(HOST, 0) as taken, socket.create_connection(taken.getsockname()):
        connection, _ = taken.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(UsageError, match=r"cannot listen at http://192\.0\.2\.1:80: "):
        bind("192.0.2.1", 80)


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert url_of("::1", 8000) == "http://[::1]:8000"


def test_a_listener_that_stops_finishes_what_it_has_in_hand_and_takes_no_more() -> None:
    app, begun, go_on = FastAPI(), asyncio.Event(), asyncio.Event()

    @app.get("/slow")
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    async def go() -> None:
        taken = bind(HOST, 0)
        listener, port = Listener(app, taken), port_of(taken)
        async with httpx.AsyncClient(base_url=url_of(HOST, port), timeout=SECONDS) as client:
            idle, _ = await asyncio.open_connection(HOST, port)
            asked = asyncio.create_task(client.get("/slow"))
            await begun.wait()
            assert listener.listens
            stopping = asyncio.create_task(listener.stop())
            while is_open(taken):
                await asyncio.sleep(0.01)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(HOST, port)
            ended, _ = await asyncio.wait([stopping], timeout=0.5)
            assert not ended
            go_on.set()
            assert (await asked).json() == "done"
            await stopping
            assert await idle.read() == b""
        assert not listener.listens

    asyncio.run(asyncio.wait_for(go(), SECONDS))


def is_open(taken: socket.socket) -> bool:
    try:
        taken.getsockname()
    except OSError as error:
        assert error.errno == errno.EBADF
        return False
    return True
