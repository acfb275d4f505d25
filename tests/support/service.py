"""The service with the scripted engine, and clients that ask it."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any

from cluster.annotation.job import Job
from cluster.annotation.pool import Pool
from cluster.runtime.session import RaySession
from cluster.service.deployment import Annotators, Service, served
from cluster.service.predicting import Predict
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.scripted import Script

SECONDS = 120.0  # in which any request must be answered


def free_port() -> int:
    """Return a port of loopback that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def scripted_service(
    store_url: str,
    session: RaySession,
    spec: Spec,
    prompt: Prompt,
    script: Script,
    load: Callable[[], Predict] | None = None,
    workers: int = 1,
    **settings: Any,
) -> Iterator[str]:
    """Offer the service at a free port, and yield its URL."""
    job = Job(
        run="",
        store_url=store_url,
        spec=spec,
        prompt=prompt,
        sources=(),
        max_attempts=2,
        engine=script,
        start_waits=(),
    )
    annotators = Annotators(job=job, pool=Pool(workers=workers, cpus=0.2, concurrency=16))
    service = Service(port=free_port(), drain_seconds=20.0, **settings)
    with served(service, annotators=annotators, load=load, session=session) as url:
        yield url


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request came to, and the seconds that it took."""

    status: int
    headers: HTTPMessage
    body: Any
    seconds: float


def ask_all(url: str, molecules: Sequence[Any], *, clients: int, token: str = "") -> list[Answered]:
    """Have each molecule described in a request of its own, by so many clients at a time; answers in their order.

    The clients are lean, since they take their time from the same cores as the service.
    """
    answers: dict[int, Answered] = {}
    numbers = itertools.count()

    def work(_: int) -> None:
        connection = HTTPConnection(url.removeprefix("http://"), timeout=SECONDS)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        with closing(connection):
            while (number := next(numbers)) < len(molecules):
                begun = time.perf_counter()
                connection.request("POST", "/describe", json.dumps({"smiles": molecules[number]}), headers)
                response = connection.getresponse()
                body = json.loads(response.read())
                answers[number] = Answered(response.status, response.headers, body, time.perf_counter() - begun)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    return [answers[number] for number in range(len(molecules))]
