"""The embedded store on a disk that fills up."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.store.connection import StoreFullError
from cluster.store.open import open_store
from cluster.store.store import Row
from teacher.chemistry.molecule import key_of
from tests.support.records import record

SMALL, LARGER = "6m", "64m"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk of its own for the store; only root can make one."""
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", folder], check=False)
    if made.returncode != 0:
        folder.rmdir()
        pytest.skip("a disk cannot be made here: mounting one takes root")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_full_disk_is_named_and_what_was_acknowledged_is_there_once_there_is_room(disk: Path) -> None:
    acknowledged: list[bytes] = []
    with (
        pytest.raises(StoreFullError, match=r"disk of the store .* is full: free some"),
        open_store(str(disk)) as store,
    ):
        for number in range(10_000):
            key = key_of(str(number))
            store.register("spec", "run", [Row(key, 0, number)])
            store.commit("spec", "run", [(key, record(smiles=str(number), text=_noise(number)))], [(1, 1)])
            acknowledged.append(key)
    assert len(acknowledged) > 100
    subprocess.run(["mount", "-o", f"remount,size={LARGER}", disk], check=True)
    with open_store(str(disk)) as store:
        assert set(acknowledged) <= {key for key, _ in store.records("spec")}
        counts = store.counts("spec")
        assert counts.accepted <= len(acknowledged) + 1  # the last may be there without a word
        assert counts.molecules <= len(acknowledged) + 1


def _noise(seed: int) -> str:
    """Return a text that does not compress."""
    return "".join(key_of(f"{seed}-{part}").hex() for part in range(200))
