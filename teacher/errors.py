"""The errors that a user is meant to read: one sentence each, saying what is wrong and what to do next.

Everything else is a defect and propagates as it is.
"""

from __future__ import annotations

from typing import Any


class GallonError(Exception):
    """Something failed that the user can act on; the message is one sentence. Exit status 1.

    It comes out of a worker as it was raised there, whatever `__init__` of its class makes the sentence of.
    """

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return _with_its_message, (type(self), self.args), self.__dict__


def _with_its_message(kind: type[GallonError], args: tuple[object, ...]) -> GallonError:
    """Make an error again, without asking its class for the message, which is there."""
    return kind.__new__(kind, *args)


class UsageError(GallonError):
    """The request itself is wrong: a missing file, an unknown name, settings that contradict. Exit status 2."""

    exit_code = 2


class EngineStartError(GallonError):
    """The LLM engine could not start: no model, too little memory, too few GPUs, or vLLM's own reason."""


class EngineRefusedError(EngineStartError):
    """The engine does not take this model, or these settings; it would say the same at every further try."""


class EngineDeadError(GallonError):
    """The LLM engine died while requests were in flight."""
