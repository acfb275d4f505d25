"""Python's searches for garbage, which begin to cost where torch and its like are loaded."""

from __future__ import annotations

import gc
import sys

# Triton's types have to be found at the end, or else its binding lists them on the terminal as leaked. PyG loads it.
HAS_TO_BE_FOUND = "triton._C.libtriton"


def leave_out_what_is_loaded() -> None:
    """Let no search go through what there is by now, where that may stay unfound until the process has ended."""
    if HAS_TO_BE_FOUND not in sys.modules:
        gc.freeze()
