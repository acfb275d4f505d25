"""A run with the scripted engine in a process of its own, to be interrupted and killed.

python -m tests.support.drive LIBRARY STORE [--delay SECONDS] [--requests FILE]
"""

from __future__ import annotations

import argparse
import json
import signal
from dataclasses import asdict
from pathlib import Path

from cluster.annotate import Pool, annotate
from cluster.embedded import open_store
from cluster.library import resolve
from cluster.ray_session import ray_session
from gallon import _interrupt
from teacher.catalog import load
from teacher.spec import Model, PromptRef, Sampling, Spec
from tests.support.scripted import Script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library")
    parser.add_argument("store")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--requests", type=Path)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    prompt = load("describe")
    spec = Spec(
        model=Model(name="scripted", revision="1"), prompt=PromptRef.of(prompt), sampling=Sampling(max_tokens=9)
    )
    with open_store(arguments.store) as store, ray_session(None) as session:
        result = annotate(
            resolve([arguments.library]),
            limit=None,
            spec=spec,
            prompt=prompt,
            store=store,
            session=session,
            engine=Script(delay=arguments.delay, requests=arguments.requests),
            pool=Pool(concurrency=16),
        )
    print(json.dumps({**asdict(result.ledger), "interrupted": result.interrupted}))  # noqa: T201


if __name__ == "__main__":
    main()
