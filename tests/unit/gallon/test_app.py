"""How the command ends."""

from __future__ import annotations

import subprocess
import sys

# What is registered first runs last: after all that the command has registered.
LAST = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count()))
from gallon.cli.app import main
main()
"""


def test_the_command_ends_without_a_last_search_for_garbage() -> None:
    ended = subprocess.run([sys.executable, "-c", LAST, "--version"], capture_output=True, text=True, check=True)
    version, frozen = ended.stdout.split("\n")[:2]
    assert version.startswith("gallon ")
    assert int(frozen) > 10_000
