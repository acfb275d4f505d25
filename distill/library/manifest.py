"""What a prepared library is made of, and by what: the file beside its shards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distill.features.features_id import features_id
from distill.features.vectors import DescriptorSet
from teacher import strict_json
from teacher.errors import UsageError
from teacher.files import write_text
from teacher.provenance import installed

FORMAT = "gallon library 1"
MANIFEST, PLAN = "manifest.json", "plan.json"
PACKAGES = ("gallon", "rdkit", "torch-geometric", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What decides the shards of a library; a folder holds shards of one plan.

    Attributes:
        sources: the files, by path or URL.
        descriptors: that stand beside the counts.
        limit: rows that are read at most.
        features: id of the code that made numbers of molecules (`distill.features.features_id`).
        format: of the shards.
    """

    sources: tuple[str, ...]
    descriptors: DescriptorSet
    limit: int | None = None
    features: str = field(default_factory=features_id)
    format: str = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A prepared library, complete.

    Attributes:
        plan: what it was made of.
        digest: of its rows and the plan's features; the same of the same rows, wherever they lie.
        shards: the rows of each shard, in their order.
        rows: of the library: `molecules` and `duplicates` and `invalid` together.
        molecules: distinct ones.
        duplicates: rows with a molecule that an earlier row has.
        invalid: rows without a molecule.
        reasons: why those hold none, the most frequent first, and how many for each.
        bytes: of all shards.
        versions: of the software that made it.
    """

    plan: Plan
    digest: str
    shards: tuple[int, ...]
    rows: int
    molecules: int
    duplicates: int
    invalid: int
    reasons: Mapping[str, int]
    bytes: int
    versions: Mapping[str, str] = field(default_factory=lambda: installed(PACKAGES))


def shard_name(number: int) -> str:
    """Return the file name of a shard, counted from 0."""
    return f"shard-{number:06d}.arrow"


def write_plan(plan: Plan, folder: Path) -> None:
    """Write down what a folder's shards are to be made of."""
    write_text(folder / PLAN, strict_json.dumps(asdict(plan), indent=2) + "\n")


def read_plan(folder: Path) -> Plan | None:
    """Return what a folder's shards are made of; None where it holds none.

    Raises:
        UsageError: the plan is damaged.
    """
    facts = _read(folder / PLAN)
    return None if facts is None else _plan(folder, facts)


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write down that a library is complete."""
    write_text(folder / MANIFEST, strict_json.dumps(asdict(manifest), indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Return what a prepared library is.

    Raises:
        UsageError: the folder holds none, or one that is not complete, damaged, or of another version of the features.
    """
    facts = _read(folder / MANIFEST)
    if facts is None:
        begun = (folder / PLAN).is_file()
        raise UsageError(
            f"The library in {folder} is not complete: run the same 'gallon prepare' again, which goes on where it was "
            "stopped."
            if begun
            else f"There is no prepared library in {folder}: make one with 'gallon prepare LIBRARY --out {folder}'."
        )
    try:
        plan = _plan(folder, facts.pop("plan"))
        manifest = Manifest(plan=plan, **{**facts, "shards": tuple(facts["shards"])})
    except (TypeError, KeyError, AttributeError):
        raise UsageError(f"The library in {folder} is damaged: its {MANIFEST} is not one of ours.") from None
    if plan.format != FORMAT or plan.features != features_id():
        raise UsageError(
            f"The library in {folder} was prepared with features of version {plan.features}, and here they are of "
            f"version {features_id()}: prepare it again with --overwrite."
        )
    return manifest


def _plan(folder: Path, facts: Any) -> Plan:
    try:
        return Plan(**{**facts, "sources": tuple(facts["sources"])})
    except (TypeError, KeyError):
        raise UsageError(f"The library in {folder} is damaged: prepare it again with --overwrite.") from None


def _read(file: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read ({error}): prepare the library again with --overwrite.") from None
    return facts if isinstance(facts, dict) else {}
