"""What `gallon batch write` keeps beside its requests, so that the answers are checked by what was asked.

A file of JSON lines: first the spec and its prompt, then a line for each request, at last how many there are and in
which files. It has another suffix than the requests, so that nobody sends it to the provider.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cluster.library.streams import UnreadableError, lines
from cluster.store.record import DeadLetter
from teacher import strict_json
from teacher.chemistry.molecule import key_of
from teacher.errors import UsageError
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from teacher.llm.validation import Stage as Check
from teacher.llm.validation import is_check

SUFFIX = ".gallon-batch"


class _Head(BaseModel):
    """The first line."""

    model_config = ConfigDict(extra="ignore")

    version: Literal[1] = Field(alias="gallon_batch")
    spec: Spec
    prompt: Prompt


class _Foot(BaseModel):
    """The last line, without which the file is not whole."""

    model_config = ConfigDict(extra="ignore")

    requests: int
    files: list[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A molecule that was asked about.

    Attributes:
        smiles: canonical.
        attempt: how many of its answers had been rejected before, which decides how this one is sampled.
        rejected: the check that rejected the last of them; None where none was rejected.
    """

    smiles: str
    attempt: int = 0
    rejected: Check | None = None

    @property
    def key(self) -> bytes:
        """The key of the molecule, in hexadecimal the `custom_id` of its request."""
        return key_of(self.smiles)

    @classmethod
    def after(cls, smiles: str, letter: DeadLetter | None) -> Asked | None:
        """Return how a molecule is asked about after what has become of it; None where another try is in vain."""
        if letter is None:
            return cls(smiles)
        if is_check(letter.stage):
            return cls(smiles, letter.attempts, letter.stage)
        if letter.stage == "engine":
            return cls(smiles, max(0, letter.attempts - 1))  # there was no answer that could be rejected
        return None


@dataclass(frozen=True, slots=True)
class Batch:
    """What was asked: under which spec, by which prompt, and about which molecules, by their `custom_id`."""

    spec: Spec
    prompt: Prompt
    asked: dict[str, Asked]


def batch_path(requests: Path) -> Path:
    """Return where the batch of a file of requests is kept."""
    return requests.with_suffix(SUFFIX)


def head(spec: Spec, prompt: Prompt) -> str:
    """Return the first line."""
    described = json.loads(prompt.model_dump_json(by_alias=True))
    return _line({"gallon_batch": 1, "spec": spec.model_dump(), "prompt": described})


def entry(asked: Asked) -> str:
    """Return the line of a molecule."""
    return _line({"smiles": asked.smiles, "attempt": asked.attempt, "rejected": asked.rejected})


def foot(requests: int, files: Sequence[str]) -> str:
    """Return the last line."""
    return _line({"requests": requests, "files": list(files)})


def read_batch(requests: Path) -> Batch:
    """Read what is kept beside a file of requests.

    Args:
        requests: the file, or what is kept beside it.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    path = batch_path(requests)
    if not path.is_file():
        raise UsageError(f"There is no {path}: name the requests that 'gallon batch write' wrote, with --requests.")
    try:
        read = _lines(path)
        first = strict_json.read(_Head, next(read, b""))
        if first.spec.prompt.digest != first.prompt.digest:
            raise ValueError("its prompt is not that of its spec")
        *entries, last = read
        asked = [strict_json.read(Asked, line) for line in entries]
        if strict_json.read(_Foot, last).requests != len(asked):
            raise ValueError("it is not whole")
    except (ValueError, UnreadableError) as error:
        raise UsageError(f"{path} cannot be read: {error}. Write the batch again.") from None
    return Batch(first.spec, first.prompt, {each.key.hex(): each for each in asked})


def files_of(requests: Path) -> list[str]:
    """Return the names of the files that a batch had written; none where that is not known."""
    try:
        last = b""
        for line in _lines(batch_path(requests)):
            last = line
        return strict_json.read(_Foot, last).files
    except (ValueError, UnreadableError):
        return []


def _lines(path: Path) -> Iterator[bytes]:
    return chain.from_iterable(lines(str(path)))


def _line(facts: dict[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":")) + "\n"
