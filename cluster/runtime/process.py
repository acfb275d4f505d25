"""Which process of which machine something was, so that others there can tell whether it has died."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")
ZOMBIE = "Z"


@dataclass(frozen=True, slots=True)
class Process:
    """A process as others know it.

    Attributes:
        machine: where its number means something: the boot of a kernel, and the namespace of processes (a container has
            one of its own, and a copied host name tells machines apart no more). Empty where the system does not tell.
        number: its id there.
        began: clock ticks from the boot to its start, since numbers are used again.
    """

    machine: str
    number: int
    began: int

    @classmethod
    def own(cls) -> Process:
        """Return the process that asks."""
        number = os.getpid()
        _, began = _stat(number) or ("", 0)
        return cls(_machine(), number, began)

    @property
    def has_died(self) -> bool:
        """Whether it is known to be no more; of other machines nothing is known.

        A /proc that hides the processes of others (its option hidepid) says of them what it says of the dead. So it is
        the kernel that tells whether there is one, and /proc only whether it still is the same, where it says so.
        """
        if not self.machine or self.machine != _machine():
            return False
        if not _exists(self.number):
            return True
        found = _stat(self.number)
        return found is not None and (found[0] == ZOMBIE or found[1] != self.began)


@cache
def _machine() -> str:
    try:
        return f"{BOOT_ID.read_text().strip()} {NAMESPACE.readlink()}"
    except OSError:  # there is no /proc
        return ""


def _exists(number: int) -> bool:
    """Tell whether there is a process of this number, anybody's, a zombie too."""
    try:
        os.kill(number, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):  # the latter: no number of a process can be so large
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _stat(number: int) -> tuple[str, int] | None:
    """Return the state of a process and when it began, in clock ticks from the boot; None where /proc tells neither."""
    try:
        text = Path(f"/proc/{number}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    fields = text.rpartition(")")[2].split()  # after the name, which may hold anything
    return fields[0], int(fields[19])
