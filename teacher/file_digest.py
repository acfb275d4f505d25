"""Digests of files that are too large to be read at each start."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pt", ".pth")
SAMPLES, SAMPLE_BYTES = 256, 1 << 16


def digest_of(files: Iterable[Path]) -> str:
    """Digest files, their names included: small ones whole, of weights the size and samples from end to end.

    Reading hundreds of gigabytes of weights at each start would take minutes. Training changes a layer all over, and
    in a file of 5 GB the samples lie closer together than a layer of a large model is long.
    """
    digest = hashlib.sha256()
    for file in sorted(files):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            if file.suffix not in WEIGHT_SUFFIXES or size <= SAMPLES * SAMPLE_BYTES:
                digest.update(stream.read())
                continue
            for number in range(SAMPLES):
                stream.seek(number * (size - SAMPLE_BYTES) // (SAMPLES - 1))
                digest.update(stream.read(SAMPLE_BYTES))
    return digest.hexdigest()[:16]
