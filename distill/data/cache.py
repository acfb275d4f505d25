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
    (values,) = cached_arrays(file, lambda: {"values": compute()}).values()
    return values


def cached_arrays(file: Path, compute: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return the arrays that a file keeps, as `cached`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as aside:
            try:
                save_file(compute(), aside)
            except SafetensorError as error:
                raise OutputError(file, str(error)) from error
    arrays: dict[str, NDArray[Any]] = load_file(file)
    return arrays
