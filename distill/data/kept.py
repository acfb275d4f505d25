"""Arrays that take long to compute, kept in files for the next time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def kept(file: Path, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the array that a file keeps (safetensors), after computing and writing it where there is no file yet."""
    from safetensors.numpy import load_file, save_file

    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_suffix(".new")
        save_file({"values": compute()}, aside)
        aside.rename(file)
    values: NDArray[np.float32]
    (values,) = load_file(file).values()
    return values
