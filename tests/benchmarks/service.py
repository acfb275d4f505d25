"""How long requests to the service take: those that the store answers, and those that an engine must.

    python -m tests.benchmarks.service [--requests 1000] [--clients 32] [--scripted] [--json]

Half of the molecules are in the store before. They are asked for alone, by one client, by all, and by all at a pace;
then together with the other half, each in a request of its own over HTTP on loopback. Clients, fronts, engine and Redis
share the machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from rdkit import RDConfig

from cluster.library.molecules import unique_molecules
from cluster.library.source import resolve
from cluster.runtime.session import ray_session
from cluster.store.open import open_store
from cluster.store.store import Row, Store
from gallon.api.service import serve
from gallon.api.spec import resolve_spec
from gallon.config import ServiceConfig, ServingConfig, SpecConfig
from teacher.chemistry.molecule import key_of
from teacher.llm.prompt import load
from teacher.llm.spec import Model, PromptRef, Sampling, Spec
from tests.support.lean_client import Reply, ask
from tests.support.machine import machine
from tests.support.records import record
from tests.support.scripted import Script, true_answer
from tests.support.service import FRONT, free_port, processes_of, scripted_service

QUEUE = 1024
ROUNDS = 4  # in which each stored molecule is asked for, to count CPU time over
STORED_PER_SECOND = 100.0
MIXED_PER_SECOND, MIXED_SECONDS = 20.0, 20.0  # fewer than the engine makes, so that the queue is short


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--scripted", action="store_true", help="an engine that answers at once, in place of tiny")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    library = resolve([f"{RDConfig.RDDataDir}/NCI/first_5K.smi"])
    number = arguments.requests + round(MIXED_PER_SECOND * MIXED_SECONDS)
    molecules = [molecule.smiles for molecule in islice(unique_molecules(library, None), number)]
    with (
        tempfile.TemporaryDirectory() as folder,
        _serving(folder, scripted=arguments.scripted, replicas=arguments.replicas) as (url, store, spec_id),
    ):
        _keep(store, spec_id, molecules[::2])
        ask(url, molecules[:50:2], clients=1)  # which loads what the service needs
        asked, paced = molecules[: arguments.requests], molecules[arguments.requests :]
        replies, cpu = _of_stored(url, asked[::2], arguments.clients)
        begun = time.perf_counter()
        replies |= _of_both(url, asked, arguments.clients, None)
        seconds = time.perf_counter() - begun
        replies |= _of_both(url, paced, arguments.clients, MIXED_PER_SECOND)
        accepted = store.counts(spec_id).accepted
    result = {
        "errors": sum(reply.status != 200 for each in replies.values() for reply in each),
        "accepted": accepted,
        "molecules": len(molecules),
        "requests_per_second": round(len(asked) / seconds, 1),
        "ms": {name: _milliseconds(each) for name, each in replies.items()},
        "cpu_ms_per_stored": cpu,
        "engine": "scripted" if arguments.scripted else "tiny",
        "replicas": arguments.replicas,
        "machine": machine(),
    }
    _print(result)
    if arguments.json:
        print(json.dumps(result))


def _of_stored(url: str, molecules: Sequence[str], clients: int) -> tuple[dict[str, list[Reply]], dict[str, float]]:
    """Ask for molecules that are stored; return the replies, and the CPU milliseconds that one takes."""
    replies = {"stored, 1 client": ask(url, molecules, clients=1)}
    spent = _cpu_seconds()
    replies[f"stored, {clients} clients"] = ask(url, list(molecules) * ROUNDS, clients=clients)
    cpu = {
        name: round((after - spent[name]) / (ROUNDS * len(molecules)) * 1000, 2)
        for name, after in _cpu_seconds().items()
    }
    name = f"stored, {clients} clients, {STORED_PER_SECOND:g} requests/s"
    replies[name] = ask(url, molecules, clients=clients, per_second=STORED_PER_SECOND)
    return replies, cpu


def _of_both(url: str, molecules: Sequence[str], clients: int, per_second: float | None) -> dict[str, list[Reply]]:
    """Ask for molecules of which half are new, in any order; return the replies of the stored and of the new ones."""
    mixed = random.Random(0).sample(molecules, len(molecules))
    replies = ask(url, mixed, clients=clients, per_second=per_second)
    pace = f", {per_second:g} requests/s" if per_second else ""
    return {
        f"{kind}, {clients} clients, half of all are new{pace}": [
            reply for reply in replies if reply.body.get("stored", False) == (kind == "stored")
        ]
        for kind in ("stored", "new")
    }


@contextmanager
def _serving(folder: str, *, scripted: bool, replicas: int) -> Iterator[tuple[str, Store, str]]:
    """Offer the service, and yield its URL, its store, and the id of its spec."""
    with open_store(folder) as store, ray_session(None) as session:
        if scripted:
            prompt = load("describe")
            spec = Spec(
                model=Model(name="scripted", revision="1"),
                prompt=PromptRef.of(prompt),
                sampling=Sampling(max_tokens=prompt.max_tokens),
            )
            settings: dict[str, Any] = {"replicas": replicas, "queue": QUEUE}
            with scripted_service(store.url, session, spec, prompt, Script(), **settings) as url:
                yield url, store, spec.id
        else:
            config = SpecConfig(model="tiny")
            service = ServiceConfig(port=free_port(), replicas=replicas, queue=QUEUE)
            with serve(service=service, spec=config, engine=ServingConfig(), store=folder, progress=None) as running:
                yield running.url, store, resolve_spec(config).spec.id


def _keep(store: Store, spec_id: str, molecules: Sequence[str]) -> None:
    """Store a record of each molecule, of the usual size."""
    keys = [key_of(smiles) for smiles in molecules]
    store.register(spec_id, "before", [Row(key, 0, row) for row, key in enumerate(keys, 1)])
    outcomes = [(key, record(smiles, true_answer(smiles))) for key, smiles in zip(keys, molecules, strict=True)]
    store.commit(spec_id, "before", outcomes, [(1, 1)] * len(keys))


def _cpu_seconds() -> dict[str, float]:
    """Return the CPU time that the fronts and their parsers, and the clients, have taken so far."""
    fronts = 0.0
    for front in processes_of(FRONT):
        for process in (front, *front.children()):
            times = process.cpu_times()
            fronts += times.user + times.system
    return {"fronts": fronts, "clients": time.process_time()}


def _milliseconds(replies: Sequence[Reply]) -> dict[str, float]:
    times = [reply.seconds * 1000 for reply in replies]
    cuts = statistics.quantiles(times, n=100)
    return {"p50": round(cuts[49], 1), "p95": round(cuts[94], 1)}


def _print(result: dict[str, Any]) -> None:
    print(
        f"{result['errors']} errors, {result['requests_per_second']} requests/s with half of them new", file=sys.stderr
    )
    print(f"{'':60} {'p50 ms':>8} {'p95 ms':>8}")
    for name, times in result["ms"].items():
        print(f"{name:60} {times['p50']:8} {times['p95']:8}")
    print(f"CPU ms for a stored one: {', '.join(f'{name} {ms}' for name, ms in result['cpu_ms_per_stored'].items())}")


if __name__ == "__main__":
    main()
