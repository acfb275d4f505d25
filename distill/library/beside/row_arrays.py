"""Arrays of some rows of a shard, in a file beside it that grows: what was found out about a row is not asked again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teacher.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = "rows"
MOST_HALF = float(np.finfo(np.float16).max)
Arrays = Mapping[str, "NDArray[Any]"]


def file_of(folder: Path, number: int) -> Path:
    """Return the file of a shard in a folder of such files."""
    return folder / f"{number:06d}.safetensors"


def halved(values: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Return numbers in half precision; what is beyond it becomes its greatest number, and NaN stays."""
    return np.clip(values, -MOST_HALF, MOST_HALF).astype(np.float16)


def read_rows(file: Path, shard_digest: str) -> Arrays | None:
    """Return `rows`, int64, ascending, and beside them what is known of each; None where there is nothing to be read.

    Args:
        file: of the shard.
        shard_digest: of the shard's rows; what was written of other rows is none of theirs.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            if (opened.metadata() or {}).get("shard") != shard_digest:
                return None
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no mapping)
    except (OSError, SafetensorError):
        return None


def add_rows(file: Path, shard_digest: str, found: Arrays) -> Arrays:
    """Keep what was found out about `rows` of a shard beside what is there, and return both together.

    Rows that are there already, as where a worker died after it had written, stay as they are.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    from safetensors.numpy import save_file

    before = read_rows(file, shard_digest)
    if before is not None:
        new = ~np.isin(found[ROWS], before[ROWS])
        both = {name: np.concatenate([before[name], found[name][new]]) for name in found}
        order = np.argsort(both[ROWS])
        found = {name: array[order] for name, array in both.items()}
    with replacing(file) as aside:
        save_file(dict(found), aside, metadata={"shard": shard_digest})
    return found
