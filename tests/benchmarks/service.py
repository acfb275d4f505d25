"""How long requests to the service take: those that the store answers, and those that an engine must.

    python -m tests.benchmarks.service [--requests 1000] [--clients 32] [--scripted] [--json]

Half of the molecules are in the store before. They are asked for alone, by one client and by all, and then together
with the other half, each in a request of its own over HTTP on loopback. Clients, proxy, service, engine and Redis share
the machine.
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
from tests.support.machine import machine
from tests.support.records import record
from tests.support.scripted import Script, true_answer
from tests.support.service import FRONT, PROXY, Answered, ask_all, free_port, processes_of, scripted_service

QUEUE = 1024
PROCESSES = {"proxy": PROXY, "front": FRONT}


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
    molecules = [molecule.smiles for molecule in islice(unique_molecules(library, None), arguments.requests)]
    stored, new = molecules[::2], molecules[1::2]
    with (
        tempfile.TemporaryDirectory() as folder,
        _serving(folder, scripted=arguments.scripted, replicas=arguments.replicas) as (url, store, spec_id),
    ):
        _keep(store, spec_id, stored)
        ask_all(url, stored[:50], clients=1)  # which loads what the service needs
        alone = ask_all(url, stored[:200], clients=1)
        spent = _cpu_seconds()
        together = ask_all(url, stored, clients=arguments.clients)
        cpu = {name: _cpu_seconds()[name] - before for name, before in spent.items()}
        mixed = random.Random(0).sample(molecules, len(molecules))
        begun = time.perf_counter()
        answers = ask_all(url, mixed, clients=arguments.clients)
        seconds = time.perf_counter() - begun
        accepted = store.counts(spec_id).accepted
    of_stored, of_new = _split(answers)
    result = {
        "errors": sum(answer.status != 200 for answer in (*alone, *together, *answers)),
        "accepted": accepted,
        "molecules": len(molecules),
        "new": len(new),
        "requests_per_second": round(len(mixed) / seconds, 1),
        "ms": {
            "stored, 1 client": _milliseconds(alone),
            f"stored, {arguments.clients} clients": _milliseconds(together),
            f"stored, {arguments.clients} clients, half of all are new": _milliseconds(of_stored),
            f"new, {arguments.clients} clients, half of all are new": _milliseconds(of_new),
        },
        "cpu_ms_per_stored": {name: round(seconds / len(stored) * 1000, 2) for name, seconds in cpu.items()},
        "engine": "scripted" if arguments.scripted else "tiny",
        "replicas": arguments.replicas,
        "machine": machine(),
    }
    _print(result)
    if arguments.json:
        print(json.dumps(result))


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
    """Return the CPU time that the processes of the service have taken so far, by what they are."""
    spent = dict.fromkeys(PROCESSES, 0.0)
    for name, title in PROCESSES.items():
        for process in processes_of(title):
            times = process.cpu_times()
            spent[name] += times.user + times.system
    return spent


def _split(answers: Sequence[Answered]) -> tuple[list[Answered], list[Answered]]:
    """Tell answers from the store and new ones apart."""
    stored = [answer for answer in answers if answer.body["stored"]]
    return stored, [answer for answer in answers if not answer.body["stored"]]


def _milliseconds(answers: Sequence[Answered]) -> dict[str, float]:
    times = [answer.seconds * 1000 for answer in answers]
    cuts = statistics.quantiles(times, n=100)
    return {"p50": round(cuts[49], 1), "p95": round(cuts[94], 1)}


def _print(result: dict[str, Any]) -> None:
    print(
        f"{result['errors']} errors, {result['requests_per_second']} requests/s with half of them new", file=sys.stderr
    )
    print(f"{'':50} {'p50 ms':>8} {'p95 ms':>8}")
    for name, times in result["ms"].items():
        print(f"{name:50} {times['p50']:8} {times['p95']:8}")
    print(f"CPU ms for a stored one: {', '.join(f'{name} {ms}' for name, ms in result['cpu_ms_per_stored'].items())}")


if __name__ == "__main__":
    main()
