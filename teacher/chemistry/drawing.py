"""Drawings on their way to an engine: packed pixels, made in a process of its own (`safe_process`).

Drawing takes many times as long as unpacking (most of it Cairo's PNG), so it is done on any machine's cores beside the
engines. Pixels travel as Zstandard frames: about 15 kB at 448 px, of 602 kB.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache
from threading import local
from typing import TYPE_CHECKING, Any

from teacher.chemistry.depiction import check_drawing, draw
from teacher.chemistry.molecule import mol_of
from teacher.chemistry.safe_process import SECONDS, SafeProcess, serve

if TYPE_CHECKING:
    from PIL.Image import Image

DRAWN_AT_A_TIME = 16  # in a quarter of a second
CHANNELS = 3
COMPRESSION_LEVEL = 1


class UndrawableError(ValueError):
    """RDKit cannot draw this molecule; the message says why."""


class SafeDrawer:
    """Draws molecules in a process of its own, which is started with the first of them; threads take turns.

    Args:
        seconds: after which a drawing is given up.
        module: what the process runs.
    """

    def __init__(self, seconds: float = SECONDS, module: str = __name__) -> None:
        self._process = SafeProcess(module, seconds, DRAWN_AT_A_TIME)

    def draw(self, smiles: Sequence[str], size: int) -> list[bytes | UndrawableError]:
        """Return for each molecule its packed drawing (`unpack`), or why there is none.

        Args:
            smiles: canonical.
            size: width and height in pixels.
        """

        def question(some: Sequence[str]) -> bytes:
            return json.dumps({"size": size, "smiles": some}).encode()

        return self._process.work(smiles, question, _answers, UndrawableError)

    def close(self) -> None:
        """End the process; the next drawing would start it again."""
        self._process.close()


@cache
def shared_drawer() -> SafeDrawer:
    """Return this process's drawer.

    Raises:
        UsageError: this machine cannot draw, which no molecule is to be blamed for.
    """
    check_drawing()
    return SafeDrawer()


def pack(image: Image) -> bytes:
    """Return an RGB image's pixels as a Zstandard frame."""
    packed: bytes = _codec().compress(image.tobytes())
    return packed


def unpack(packed: bytes, size: int) -> Image:
    """Return the RGB image of shape (size, size) that `pack` was given."""
    from PIL import Image

    pixels = _codec().decompress(packed, max_output_size=size * size * CHANNELS)
    return Image.frombytes("RGB", (size, size), pixels)


class _Codec(local):
    """Compressor and decompressor, which may not be shared between threads."""

    def __init__(self) -> None:
        import zstandard

        self.compress = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


@cache
def _codec() -> _Codec:
    return _Codec()


def _answers(line: bytes) -> list[bytes | UndrawableError]:
    return [
        base64.b64decode(drawing) if drawing is not None else UndrawableError(reason)
        for drawing, reason in json.loads(line)
    ]


def main() -> None:
    """Draw what standard input asks for: each line is an object with `size` and a list of `smiles`, as JSON."""
    draw(mol_of("C"), 32)  # what it loads is not to count as the first molecule's time

    serve(_answer)


def _answer(question: bytes) -> bytes:
    asked = json.loads(question)
    return json.dumps([_drawn(smiles, asked["size"]) for smiles in asked["smiles"]]).encode()


def _drawn(smiles: str, size: int) -> tuple[Any, str | None]:
    try:
        return base64.b64encode(pack(draw(mol_of(smiles), size))).decode(), None
    # Whatever RDKit raises here is about this molecule.
    except Exception as error:  # noqa: BLE001
        return None, str(error) or type(error).__name__


if __name__ == "__main__":
    main()
