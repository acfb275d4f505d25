"""The process of `screen.workers` that dies over ethanol, fails over methane, and dies once over propane alone.

It may also answer about one row fewer than it was asked about.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from distill.screen import scorer, workers

if TYPE_CHECKING:
    import pyarrow as pa

ONCE = "GALLON_TEST_ONCE"
SHORT = "GALLON_TEST_SHORT"
score = scorer.Scorer.score


def score_or_die(self: scorer.Scorer, rows: pa.Table) -> pa.Table:
    raws = rows["raw"].to_pylist()
    if b"C" in raws:
        raise ZeroDivisionError
    if b"CCO" in raws or (raws == [b"CCC"] and not (once := Path(os.environ[ONCE])).exists()):
        if b"CCO" not in raws:
            once.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    scored = score(self, rows)
    return scored.slice(1) if os.environ.get(SHORT) and len(rows) > 1 else scored


if __name__ == "__main__":
    scorer.Scorer.score = score_or_die  # type: ignore[method-assign]
    workers.main()
