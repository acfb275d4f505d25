"""What Ray has wrapped around an error that a worker raised."""

from __future__ import annotations

from collections.abc import Iterator

from teacher.errors import GallonError


def exception_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, the one that caused it, and so on down to the first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = getattr(seen, "cause", None) or seen.__cause__


def first_of_ours(error: BaseException) -> BaseException:
    """Return the error of ours among those that Ray has wrapped around it, or else the error itself.

    Ray's wrapper is an instance of what it wraps, too.
    """
    from ray.exceptions import RayError

    ours = (seen for seen in exception_chain(error) if isinstance(seen, GallonError) and not isinstance(seen, RayError))
    return next(ours, error)


def root_of(error: BaseException) -> BaseException:
    """Return the error at the bottom of those that Ray has wrapped around it."""
    *_, bottom = exception_chain(error)
    return bottom


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message: Ray adds a traceback, or advice of many lines."""
    return str(error).strip().split("\n", maxsplit=1)[0]
