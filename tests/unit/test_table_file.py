"""Tables that are written part by part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.table_file import WRITERS, write
from teacher.errors import UsageError
from teacher.files import OutputError
from tests.unit.test_files import small_disk  # noqa: F401 - a fixture

SCHEMA = pa.schema([("text", pa.string())])


def parts(number: int) -> Iterator[pa.Table]:
    for _ in range(number):
        yield pa.table({"text": [os.urandom(500).hex() for _ in range(100)]}, schema=SCHEMA)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_disk_that_fills_up_leaves_the_old_table_and_nothing_else(small_disk: Path, suffix: str) -> None:  # noqa: F811
    out = small_disk / f"out{suffix}"
    assert write(parts(1), SCHEMA, out) == 100
    before = out.read_bytes()
    with pytest.raises((OutputError, UsageError), match="No space left"):
        write(parts(20), SCHEMA, out)
    assert out.read_bytes() == before
    assert [path.name for path in small_disk.iterdir()] == [out.name]


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="should end in one of"):
        write(parts(1), SCHEMA, tmp_path / "out.xlsx")
