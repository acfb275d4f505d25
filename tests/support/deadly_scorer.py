"""The process of `screen.workers` that dies over ethanol, fails over methane, and dies once over propane alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from distill.screen import scorer, workers

if TYPE_CHECKING:
    import pyarrow as pa

ONCE = "GALLON_TEST_ONCE"
score = scorer.Scorer.score


def score_or_die(self: scorer.Scorer, rows: pa.Table) -> pa.Table:
    raws = rows["raw"].to_pylist()
    if b"C" in raws:
        raise ZeroDivisionError
    if b"CCO" in raws or (raws == [b"CCC"] and not (once := Path(os.environ[ONCE])).exists()):
        if b"CCO" not in raws:
            once.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return score(self, rows)


if __name__ == "__main__":
    scorer.Scorer.score = score_or_die  # type: ignore[method-assign]
    workers.main()
