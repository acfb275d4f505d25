"""The service with the scripted engine, and clients that ask it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from typing import Any

import psutil

from cluster.annotation.job import Job
from cluster.annotation.pool import Pool
from cluster.runtime.session import RaySession
from cluster.service.deployment import Annotators, Service, served
from cluster.service.predicting import Predict
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.scripted import Script

SECONDS = 120.0  # in which any request must be answered
PAUSE = 0.1  # seconds before a client asks again
FRONT = "ray::ServeReplica:gallon:"  # as the processes of fronts call themselves


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
    gpus: int = 0,
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
    annotators = Annotators(job=job, pool=Pool(workers=workers, cpus=0.2, gpus=gpus, concurrency=16))
    service = Service(port=free_port(), drain_seconds=20.0, **settings)
    with served(service, annotators=annotators, load=load, session=session) as url:
        yield url


def processes_of(title: str) -> list[psutil.Process]:
    """Return the processes of the tests' Ray that call themselves so."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(title):
                found.append(process)
    return found


def kill_one(title: str) -> None:
    """Kill one of the processes that call themselves so, as a machine does that runs out of memory."""
    os.kill(processes_of(title)[0].pid, signal.SIGKILL)


def kill_all(title: str) -> None:
    """Kill all processes that call themselves so; of those that died before, some may not be back yet."""
    found = processes_of(title)
    assert found, f"no process calls itself {title}"
    for process in found:
        os.kill(process.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request came to, and the seconds that it took."""

    status: int
    headers: HTTPMessage
    body: Any
    seconds: float


def ask_all(
    url: str, molecules: Sequence[Any], *, clients: int, token: str = "", failed: list[Any] | None = None
) -> list[Answered]:
    """Have each molecule described in a request of its own, by so many clients at a time; answers in their order.

    The clients are lean, since they take their time from the same cores as the service.

    Args:
        url: of the service.
        molecules: a SMILES each, or a list of them.
        clients: requests at a time.
        token: which the service asks for.
        failed: where there is one, they ask again after a broken connection or an error of the service, and add what
            they had asked for.
    """
    answers: dict[int, Answered] = {}
    numbers = itertools.count()

    def work(_: int) -> None:
        with closing(HTTPConnection(url.removeprefix("http://"), timeout=SECONDS)) as connection:
            while (number := next(numbers)) < len(molecules):
                answers[number] = _ask(connection, molecules[number], token, failed)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    return [answers[number] for number in range(len(molecules))]


def _ask(connection: HTTPConnection, smiles: Any, token: str, failed: list[Any] | None) -> Answered:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    begun = time.perf_counter()
    while True:
        last = failed is None or time.perf_counter() - begun > SECONDS
        try:
            connection.request("POST", "/describe", json.dumps({"smiles": smiles}), headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, HTTPException):
            connection.close()
            if last:
                raise
        else:
            if last or response.status < 500:
                seconds = time.perf_counter() - begun
                return Answered(response.status, response.headers, json.loads(text), seconds)
        assert failed is not None, "else this was the last time"
        failed.append(smiles)
        time.sleep(PAUSE)
