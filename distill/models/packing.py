"""A model's folder in one file, and back: a plain zip archive, of which nothing but the files of a model is read."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.models.card import ModelCard
from distill.models.hub import local_model
from distill.models.model_store import FILES, OUTPUTS, usable_card
from teacher.errors import UsageError
from teacher.files import replacing

MOST_BYTES = 2**32  # of all files of a packed model
CHUNK = 2**20
DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)  # of a zip


def pack(place: Path, out: Path) -> None:
    """Write a model, a folder or a packed one, into one file; what a teacher says of its dataset is left out.

    Raises:
        OutputError: it cannot be written.
    """
    with (
        unpacked_model(place) as folder,
        replacing(out) as aside,
        zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in FILES:
            if name != OUTPUTS and (folder / name).is_file():
                archive.write(folder / name, name)


def card_of(place: Path) -> ModelCard:
    """Read what a model is that is to be asked, a folder or a packed one.

    Raises:
        UsageError: as `unpacked_model` and `distill.models.model_store.usable_card`.
    """
    with unpacked_model(place) as folder:
        return usable_card(folder)


@contextmanager
def unpacked_model(place: Path) -> Iterator[Path]:
    """Yield the folder of a model: the place itself, what the Hub has, or for the time being what is packed there.

    Raises:
        UsageError: the file is no packed model, or a damaged one; or the Hub does not serve it.
    """
    place = local_model(place)
    if not place.is_file():
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="gallon-model-") as folder:
        try:
            with zipfile.ZipFile(place) as archive:
                _unpack(archive, Path(folder))
        except DAMAGE as error:
            raise UsageError(f"{place} is no model that gallon has packed ({error}).") from None
        yield Path(folder)


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    """Write the files of a model, each under its known name, and no more bytes than a model may have."""
    left = MOST_BYTES
    for name in set(archive.namelist()) & set(FILES):
        with archive.open(name) as packed, (folder / name).open("wb") as file:
            while chunk := packed.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise zipfile.BadZipFile("it is larger than any model")
                file.write(chunk)
