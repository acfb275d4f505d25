"""The bytes and lines of a text file, however it is compressed and encoded.

Lines come as UTF-8, or as whatever else contains ASCII: a file in Latin-1 is cut into lines and cells as it stands, and
`text` makes out a single cell. Only encodings that do not contain ASCII, which is UTF-16 and UTF-32, are rewritten, and
those that the user names.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import Protocol, TypeVar

from teacher.errors import GallonError

COMPRESSIONS = (".gz", ".zst")
PADDING = {".gz": b"\0"}  # as tapes and block devices leave, and gzip itself reads
LINE_LIMIT = 2**20  # bytes of a line beyond which the rest is skipped
CHUNK = 2**18  # bytes of text at a time
FEED = 2**10  # compressed bytes at a time: in Zstandard, 4 bytes may stand for 128 KiB
HEAD = 2**16  # bytes that show how a file is written

MARKS = (  # byte order marks; that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SIGNATURES = {
    b"PK\x03\x04": "a ZIP archive, as Excel workbooks are: save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Office document: save it as CSV",
    b"\x1f\x8b": "compressed by gzip: let its name end in .gz",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard: let its name end in .zst",
    b"PAR1": "Parquet: let its name end in .parquet",
}

LOGIN = re.compile(r"(?<=://)[^/\s]*@")  # user name and password of a URL

Part = TypeVar("Part", bytes, list[bytes])


class UnreadableError(Exception):
    """The content of a file is not to be had: it is gone, forbidden, cut off, corrupt, or not what it should be."""


def suffixes(path: str) -> tuple[str, str]:
    """Return the suffix of the format and that of the compression: ".smi" and ".zst", or ".smi" and ""."""
    name = PurePosixPath(path.lower())
    if name.suffix in COMPRESSIONS:
        return PurePosixPath(name.stem).suffix, name.suffix
    return name.suffix, ""


def lines(path: str, encoding: str | None = None) -> Iterator[list[bytes]]:
    """Yield the lines of a file, with their ends, in lists.

    Lines end as in Python's own text files: in LF, CRLF or CR. Of a line beyond `LINE_LIMIT` bytes only so many are
    kept, and a line that damage has cut off never comes.

    Args:
        path: a local path, or any URL that fsspec opens.
        encoding: what to rewrite as UTF-8; by default the bytes come as they are.

    Raises:
        UnreadableError: the file cannot be opened or read, or its compressed data are cut off or corrupt.
    """
    tail = b""
    for piece in _without_mark(_as_utf8(pieces(path), encoding)):
        found = (tail + piece).splitlines(keepends=True)
        tail = found.pop() if found and not found[-1].endswith(b"\n") else b""
        if len(tail) > LINE_LIMIT:
            tail = tail[:LINE_LIMIT] + tail[-1:]  # its last byte may be one half of CRLF
        if found:
            found[0] = found[0][:LINE_LIMIT]  # no other is longer than a piece
            yield found
    if tail:
        yield [tail[:LINE_LIMIT]]


def first_lines(path: str, encoding: str | None = None) -> list[bytes]:
    """Return the lines at the beginning of a file, some `HEAD` bytes of them; damage behind the first is left alone.

    Raises:
        UnreadableError: as `lines`, where not even one is to be had.
    """
    return list(chain.from_iterable(_beginning(lines(path, encoding))))


def find_encoding(path: str, wanted: str | None = None) -> str | None:
    """Find out what `lines` has to rewrite, from the beginning of a file.

    Args:
        path: as for `lines`.
        wanted: the encoding that the user names.

    Raises:
        UnreadableError: as `lines`; or it is no text; or it is not written in the encoding that is wanted.
    """
    head = b"".join(_beginning(pieces(path)))
    if what := next((what for signature, what in SIGNATURES.items() if head.startswith(signature)), None):
        raise UnreadableError(f"it is no text but {what}")
    if wanted is None:
        return next((name for mark, name in MARKS if head.startswith(mark)), None) or _without_a_mark(head)
    try:
        codecs.getincrementaldecoder(wanted)().decode(head)
    except UnicodeError as error:
        raise UnreadableError(f"it is not written in {wanted} ({error}): name another --encoding, or none") from None
    return None if codecs.lookup(wanted).name in ("utf-8", "utf-8-sig") else wanted


def text(raw: bytes) -> str:
    """Return what bytes say: in UTF-8, or else in Windows' Western encoding, or in Latin-1, which knows every byte."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def pieces(path: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, at most `CHUNK` at a time and never none.

    Raises:
        UnreadableError: it cannot be opened or read, or its compressed data are cut off or corrupt.
    """
    import fsspec

    new_decoder, error = _decoder(path)
    with damage_told(path, error), fsspec.open(path, "rb") as file:
        if new_decoder is None:
            yield from iter(partial(file.read, CHUNK), b"")
        else:
            padding = PADDING.get(suffixes(path)[1], b"")
            yield from _decompress(iter(partial(file.read, FEED), b""), new_decoder, padding)


@contextmanager
def damage_told(path: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn the errors of the disk, of the network and of a decoder (`kinds`) into `UnreadableError`.

    Raises:
        UnreadableError: what the file at `path` is read by has failed.
    """
    try:
        yield
    except (UnreadableError, GallonError):
        raise  # said in our words already
    except failures(path, *kinds) as error:
        raise UnreadableError(reason(error)) from error


def failures(path: str, *kinds: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the errors that say that a file cannot be read: of the disk, of the network, and some more (`kinds`)."""
    if "://" in path:
        # Each remote file system has errors of its own (aiohttp's, botocore's, gcsfs' `HttpError`), few of which are
        # an OSError, in packages that need not be here. So of a URL, whatever is raised tells that it cannot be read.
        return (Exception,)
    return (OSError, EOFError, *kinds)


def without_login(text: str) -> str:
    """Return a text in which the user names and passwords of URLs are hidden."""
    return LOGIN.sub("***@", text)


def reason(error: Exception) -> str:
    """Return what an error says, without the path that the message names anyway."""
    return getattr(error, "strerror", None) or str(error).rstrip(".") or type(error).__name__  # a timeout says nothing


def _beginning(parts: Iterator[Part]) -> list[Part]:
    """Return the first parts of a file, up to `HEAD` bytes or its damage."""
    found: list[Part] = []
    size = 0
    try:
        for part in parts:
            found.append(part)
            size += len(part) if isinstance(part, bytes) else sum(map(len, part))
            if size >= HEAD:
                break
    except UnreadableError:
        if not found:
            raise
    return found


# Encodings


def _without_a_mark(head: bytes) -> str | None:
    """Recognise UTF-16 by its zeros: of mostly ASCII text every other byte is one."""
    pairs = len(head) // 2
    first, second = head[0::2].count(0), head[1::2].count(0)
    if first * 10 <= second > pairs // 2:
        return "utf-16-le"
    if second * 10 <= first > pairs // 2:
        return "utf-16-be"
    return None


def _as_utf8(raw: Iterator[bytes], encoding: str | None) -> Iterator[bytes]:
    """Rewrite text; what breaks the rules of its encoding becomes U+FFFD."""
    if encoding is None:
        yield from raw
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for piece in raw:
        yield decoder.decode(piece).encode(errors="replace")
    yield decoder.decode(b"", final=True).encode(errors="replace")


def _without_mark(raw: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    while len(head) < len(codecs.BOM_UTF8) and (piece := next(raw, b"")):
        head += piece
    yield head.removeprefix(codecs.BOM_UTF8)
    yield from raw


# Compression


class _Decoder(Protocol):
    """What zlib and zstandard have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _decoder(path: str) -> tuple[Callable[[], _Decoder] | None, type[Exception]]:
    """Return what makes a decoder for a compressed file, and the error by which it tells corrupt data."""
    compression = suffixes(path)[1]
    if compression == ".zst":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj, zstandard.ZstdError
    if compression == ".gz":
        return partial(zlib.decompressobj, wbits=31), zlib.error  # 31: with the header and checksum of gzip
    return None, zlib.error


def _decompress(
    compressed: Iterable[bytes], new_decoder: Callable[[], _Decoder], padding: bytes = b""
) -> Iterator[bytes]:
    """Yield the content of compressed frames, one after the other, with nothing but `padding` behind each.

    Raises:
        EOFError: the data end within a frame (`zstandard`'s own stream reader takes that for the end of the file).
    """
    decoder = new_decoder()
    for data in compressed:
        rest = data
        while rest:
            if decoder.eof:
                if not (rest := rest.lstrip(padding)):
                    break
                decoder = new_decoder()
            content = decoder.decompress(rest)
            for start in range(0, len(content), CHUNK):
                yield content[start : start + CHUNK]
            rest = decoder.unused_data
    if not decoder.eof:
        raise EOFError("its compressed data are cut off")
