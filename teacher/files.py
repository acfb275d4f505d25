"""Output files and folders: checked before the work for them begins, and in place only once they are complete."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from teacher.errors import GallonError, UsageError

PROBE_BYTES = 1 << 16  # an empty file can still be made on a full disk
# What the user, and not a defect, is behind. Other errors of the system propagate.
FAULTS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EISDIR}
)


def placed(path: str | os.PathLike[str]) -> Path:
    """Return the path that is meant, with the home in the place of `~`.

    A shell leaves `~` as it is in --out=~/x, and nobody replaces it in YAML and in Python. One of a user who is not
    there is part of a name, as for a shell.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


class OutputError(GallonError):
    """An output could not be written; what was there before is untouched."""

    def __init__(self, out: Path, reason: str) -> None:
        super().__init__(
            f"{out} cannot be written: {reason}. Nothing was replaced; free some space or choose another place, then "
            "run the same command again."
        )


def check_output(
    out: Path, *, suffixes: Collection[str] = (), inputs: Iterable[str | Path] = (), overwrite: bool = False
) -> None:
    """Check that a file can be written, before anything is computed for it.

    Args:
        out: the file.
        suffixes: what its name may end in; empty means anything.
        inputs: what the command reads, which is never written to, not even through a link.
        overwrite: whether a file that exists may be replaced.

    Raises:
        UsageError: it cannot, or must not, be written.
    """
    if suffixes and out.suffix.lower() not in suffixes:
        raise UsageError(f"'{out.name}' should end in one of {', '.join(suffixes)}.")
    try:
        place = _real(out)
        if place.is_dir():
            raise UsageError(f"{out} is a folder: name a file.")
        if not place.parent.is_dir():
            raise UsageError(f"There is no folder {place.parent}: create it, or choose another.")
        if same := next((each for each in inputs if _same(place, each)), None):
            raise UsageError(f"{out} would replace {same}, which this command reads: choose another name.")
        if place.exists() and not place.is_file():
            raise UsageError(f"{out} is not a regular file: choose another name.")
        if place.exists() and not overwrite:
            raise UsageError(f"{out} exists already: choose another name, or replace it with --overwrite.")
        _probe(place.parent)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {_reason(error)}; choose another place.") from None


def check_folder(folder: Path) -> None:
    """Check that files can be written into a folder, which may be missing yet.

    Raises:
        UsageError: they cannot.
    """
    try:
        place = next(each for each in (_real(folder), *_real(folder).parents) if os.path.lexists(each))
        if not place.is_dir():
            raise UsageError(f"{place} is a file: choose another folder for the results.")
        _probe(place)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {_reason(error)}; choose another folder.") from None


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yield the path of a file to be written, which takes the place of `out` at the end of the body.

    It lies in the same folder, so that it is renamed and not copied, and is gone when the body fails.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    place = _real(out)
    aside = _aside(place.parent, place.suffix, of=place)
    with _explained(out):
        try:
            yield aside
            _sync(aside)
            aside.replace(place)
            _sync(place.parent)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path, ours: Collection[str] = ()) -> Iterator[Path]:
    """Yield an empty folder to be filled, which takes the place of `folder` at the end of the body.

    What else lies in the old folder is carried over: only files of the names `ours` are replaced or dropped. The old
    folder is kept aside until the new one is in its place.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    place = _real(folder)
    with _explained(folder):
        place.parent.mkdir(parents=True, exist_ok=True)
        aside, old = _aside(place.parent, of=place), _aside(place.parent)
        try:
            aside.mkdir()
            yield aside
            for file in aside.iterdir():
                _sync(file)
            _swap(aside, place, old)
            _carry_over(old, place, ours)
            _sync(place.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def drop_leftovers(out: Path) -> None:
    """Remove what processes that were killed have left of an output beside it, which nobody may be writing now."""
    place = _real(out)
    for left in place.parent.glob(f".gallon-{_mark(place)}-*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_text(out: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        OutputError: as `replacing`.
    """
    with replacing(out) as aside:
        aside.write_text(text, encoding="utf-8")


def _swap(new: Path, place: Path, old: Path) -> None:
    """Put `new` in its place, and what was there to `old`; where that fails, all is as before."""
    if not place.exists():
        new.rename(place)
        return
    place.rename(old)
    try:
        new.rename(place)
    except OSError:
        old.rename(place)
        raise


def _carry_over(old: Path, new: Path, ours: Collection[str]) -> None:
    """Move what is not ours from the old folder to the new one, and remove the old one."""
    if not old.exists():
        return
    for file in list(old.iterdir()):
        if file.name not in ours and not os.path.lexists(new / file.name):
            file.rename(new / file.name)
    shutil.rmtree(old)


def _real(path: Path) -> Path:
    """Return the file behind a path: a link stays, and what it points to is replaced."""
    return Path(os.path.realpath(path))


def _aside(folder: Path, suffix: str = "", of: Path | None = None) -> Path:
    """Return a new place beside an output, by whose name one can tell whose it is."""
    whose = f"{_mark(of)}-" if of else ""
    return folder / f".gallon-{whose}{secrets.token_hex(6)}{suffix}"


def _mark(place: Path) -> str:
    return hashlib.sha256(os.fsencode(place.name)).hexdigest()[:12]


def _same(place: Path, other: str | Path) -> bool:
    """Tell whether two paths lead to one file; hard links do, too."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return place.samefile(str(other).removeprefix("file://"))
    return False


def _probe(folder: Path) -> None:
    """Write some bytes into a folder, and remove them: permissions alone do not tell whether it can be written."""
    file = _aside(folder)
    try:
        file.write_bytes(bytes(PROBE_BYTES))
    finally:
        file.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FAULTS:
            raise
        raise OutputError(out, _reason(error)) from error


def _reason(error: OSError) -> str:
    """Say what is wrong in the system's words, without the path or what a library puts around them."""
    return os.strerror(error.errno) if error.errno else str(error)
