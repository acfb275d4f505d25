"""A run with the scripted engine in a process of its own, to be interrupted and killed.

python -m tests.support.drive LIBRARY STORE [options]
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from cluster.annotation.annotate import Result, annotate
from cluster.annotation.pool import Pool
from cluster.library.source import resolve
from cluster.runs.limits import RunLimits
from cluster.runtime.session import ray_session
from cluster.store.open import open_store
from gallon.cli.app import interrupt
from teacher.errors import GallonError
from teacher.llm.prompt import load
from teacher.llm.spec import Model, PromptRef, Sampling, Spec
from tests.support.scripted import Script

MODEL = "scripted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", nargs="+")
    parser.add_argument("store")
    parser.add_argument("--ray", help="address of a cluster; default: one of its own")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that an answer takes")
    parser.add_argument("--requests", type=Path, help="a file to which each request adds its SMILES")
    parser.add_argument("--poison", action="append", default=[], help="SMILES of a molecule that kills the engine")
    parser.add_argument("--trouble", type=Path, help="a folder of troubles that befall the engine, see `Script`")
    parser.add_argument("--request-seconds", type=float, default=600.0)
    parser.add_argument("--texts", type=Path, help="JSON list of what the engine writes instead of the truth")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--stall-minutes", type=float, default=math.inf)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        result = _run(arguments)
    except GallonError as error:
        sys.exit(f"gallon: {error}")
    print(json.dumps({**asdict(result.ledger), "interrupted": result.interrupted}))  # noqa: T201


def _run(arguments: argparse.Namespace) -> Result:
    prompt = load("describe")
    spec = Spec(model=Model(name=MODEL, revision="1"), prompt=PromptRef.of(prompt), sampling=Sampling(max_tokens=9))
    script = Script(
        delay=arguments.delay,
        requests=arguments.requests,
        poison=frozenset(arguments.poison),
        trouble=arguments.trouble,
        texts=tuple(json.loads(arguments.texts.read_text())) if arguments.texts else (),
    )
    with open_store(arguments.store) as store, ray_session(arguments.ray) as session:
        return annotate(
            resolve(arguments.library),
            limit=None,
            spec=spec,
            prompt=prompt,
            store=store,
            session=session,
            engine=script,
            limits=RunLimits(max_error_rate=1.0, stall_minutes=arguments.stall_minutes),
            pool=Pool(concurrency=arguments.concurrency),
            request_seconds=arguments.request_seconds,
            start_waits=(0.5, 2.0),
        )


if __name__ == "__main__":
    main()
