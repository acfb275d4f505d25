"""The benchmarks fit the code that they measure."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = sorted(
    file.stem for file in Path(__file__).parents[2].joinpath("benchmarks").glob("*.py") if file.stem != "__init__"
)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_finds_all_that_it_imports(name: str) -> None:
    assert importlib.import_module(f"tests.benchmarks.{name}").main
