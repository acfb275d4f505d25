"""One call for all who want the same thing at the same time."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import suppress

from cluster.service.single_flight import SingleFlight


def test_who_asks_meanwhile_waits_for_the_call_on_its_way() -> None:
    async def body() -> None:
        flights, calls, let_go = SingleFlight[int](), [], asyncio.Event()

        async def call() -> int:
            calls.append(1)
            await let_go.wait()
            return len(calls)

        asked = [flights.share(b"a", call) for _ in range(3)]
        assert len(flights) == 1
        assert b"a" in flights
        let_go.set()
        assert await asyncio.gather(*asked) == [1, 1, 1]
        assert len(flights) == 0
        assert await flights.share(b"a", call) == 2

    asyncio.run(body())


def test_a_call_goes_on_when_whoever_asked_is_gone() -> None:
    async def body() -> None:
        flights, let_go = SingleFlight[str](), asyncio.Event()

        async def call() -> str:
            await let_go.wait()
            return "done"

        gone, waiting = (flights.share(b"a", call) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone
        let_go.set()
        assert await waiting == "done"

    asyncio.run(body())


def test_a_failure_is_that_of_all_who_wait_and_the_next_call_is_another() -> None:
    async def body() -> None:
        flights, failing = SingleFlight[str](), [True]

        async def call() -> str:
            await asyncio.sleep(0)
            if failing:
                raise ValueError("it failed")
            return "done"

        answers = await asyncio.gather(*(flights.share(b"a", call) for _ in range(2)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["it failed"] * 2
        failing.clear()
        assert await flights.share(b"a", call) == "done"

    asyncio.run(body())


def test_what_was_called_is_not_in_the_context_of_who_asked() -> None:
    """Ray Serve cancels what belongs to a request that is given up, by its context."""
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")

    async def body() -> None:
        request.set("mine")

        async def call() -> str:
            return request.get()

        assert await SingleFlight[str]().share(b"a", call) == "none"

    asyncio.run(body())
