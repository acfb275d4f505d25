"""The lock files: what they pin is what pyproject.toml asks for, and every file has a hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PINNED = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; \S.*)? \\\n(?P<hashes>(?:    --hash=.*\n)+)", re.MULTILINE
)
UNLOCKED = {"cpu": {"torch"}, "gpu": set[str](), "dev": set[str]()}


def wanted(extra: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = [] if extra == "dev" else project["dependencies"]
    return [Requirement(each) for each in (*ours, *project["optional-dependencies"][extra])]


def locked(extra: str) -> dict[str, str]:
    text = (ROOT / "deploy" / f"requirements-{extra}.txt").read_text()
    return {canonicalize_name(pin["name"]): pin["version"] for pin in PINNED.finditer(text)}


@pytest.mark.parametrize("extra", UNLOCKED)
def test_what_is_asked_for_is_locked_with_hashes_and_nothing_else_is_in_the_file(extra: str) -> None:
    text = (ROOT / "deploy" / f"requirements-{extra}.txt").read_text()
    found = list(PINNED.finditer(text))
    assert "".join(pin[0] for pin in found) == text
    assert all(re.fullmatch(r"(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+", pin["hashes"]) for pin in found)
    versions = locked(extra)
    environment = {**default_environment(), "extra": ""}
    for requirement in wanted(extra):
        name = canonicalize_name(requirement.name)
        if name not in UNLOCKED[extra] and (requirement.marker is None or requirement.marker.evaluate(environment)):
            assert requirement.specifier.contains(versions[name], prereleases=True), requirement
    assert not UNLOCKED[extra] & versions.keys()


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_what_gallon_is_tested_by_is_locked_apart_and_fits_beside_the_rest(extra: str) -> None:
    versions, tools = locked(extra), locked("dev")
    assert not {canonicalize_name(each.name) for each in wanted("dev")} & versions.keys()
    assert all(tools[name] == versions[name] for name in tools.keys() & versions.keys())
