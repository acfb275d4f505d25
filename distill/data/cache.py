"""Arrays that take long to compute, kept in files for the next time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher.files import OutputError, replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cached(file: Path, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Return the array that a file keeps (safetensors), after computing and writing it where there is no file yet.

    Raises:
        OutputError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as aside:
            try:
                save_file({"values": compute()}, aside)
            except SafetensorError as error:
                raise OutputError(file, str(error)) from error
    values: NDArray[Any]
    (values,) = load_file(file).values()
    return values
