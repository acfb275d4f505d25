"""Clients for measuring the service: they take a tenth of a millisecond of CPU for a request, which httpx takes ten of.

All of them live in one event loop, and read answers as JSON only when all have come.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

HEAD = "POST /describe HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request came to, and the seconds that it took, from when it was due."""

    status: int
    body: Any
    seconds: float


def ask(url: str, molecules: Sequence[str], *, clients: int, per_second: float | None = None) -> list[Reply]:
    """Have each molecule described in a request of its own over connections that stay open; replies in their order.

    Args:
        url: of the service.
        molecules: a SMILES each.
        clients: connections, each with one request at a time.
        per_second: requests of all clients together, each begun when it is due, or as soon as a client is free; without
            it, each client asks again as soon as it has a reply.
    """
    return asyncio.run(_ask(url, molecules, clients, per_second))


async def _ask(url: str, molecules: Sequence[str], clients: int, per_second: float | None) -> list[Reply]:
    address = urlsplit(url)
    found: dict[int, tuple[int, bytes, float]] = {}
    numbers = itertools.count()
    begun = time.perf_counter()

    async def work() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        while (number := next(numbers)) < len(molecules):
            due = begun + number / per_second if per_second else time.perf_counter()
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            body = json.dumps({"smiles": molecules[number]})
            writer.write((HEAD.format(address.netloc, len(body)) + body).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            assert length, "the service says how long its answers are"
            text = await reader.readexactly(int(length[1]))
            found[number] = int(head[9:12]), text, time.perf_counter() - due
        writer.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return [Reply(status, json.loads(text), seconds) for _, (status, text, seconds) in sorted(found.items())]
