"""Errors that a user is meant to read reach the user from a worker, too."""

from __future__ import annotations

import importlib
import inspect
import pickle
import re
from pathlib import Path

import pytest

from teacher.errors import GallonError
from teacher.files import OutputError

ROOT = Path(__file__).parents[3]
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for package in ("teacher", "cluster", "distill", "gallon")
    for file in (ROOT / package).rglob("*.py")
    if re.search(r"^class \w+Error\(", file.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.mark.parametrize("name", MODULES)
def test_every_error_comes_out_of_a_worker_as_it_was_raised(name: str) -> None:
    module = importlib.import_module(name)
    kinds = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == name]
    for kind in (kind for kind in kinds if issubclass(kind, GallonError)):
        _, *needed = inspect.signature(kind.__init__).parameters.values()
        error = kind(*("some words" for each in needed if each.kind is not each.VAR_KEYWORD))
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.exit_code) == (kind, str(error), error.exit_code)


def test_what_is_known_of_an_error_comes_with_it() -> None:
    error = OutputError(Path("out.csv"), "No space left on device")
    error.add_note("shard 3")
    again = pickle.loads(pickle.dumps(error))
    assert str(again).startswith("out.csv cannot be written: No space left on device.")
    assert again.__notes__ == ["shard 3"]
