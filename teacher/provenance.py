"""What a result came of: the versions of the software, and digests of the facts that decided it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from typing import Any


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def digest(facts: Any, digits: int = 32) -> str:
    """Return the first hexadecimal digits of the SHA-256 of facts, written as JSON with sorted keys.

    Fits, baselines, searches and sets of versions are known by it.
    """
    return _sha256(json.dumps(facts, sort_keys=True))[:digits]


def compact_digest(facts: Any, digits: int) -> str:
    """Return the same of JSON without blanks, and with letters beyond ASCII as they are. Specs are known by it."""
    return _sha256(json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False))[:digits]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
