"""The table of `docs/benchmarks/models.md` on MoleculeACE's sets, out of what `tests.benchmarks.moleculeace` keeps.

    python -m tests.benchmarks.moleculeace_table

Sets are the sample, each with a test part and molecules of its own: intervals are those of Student's t, paired by set,
at the confidence that Bonferroni demands for all pairs of methods (`distill.judge.significance`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata

from distill.judge.significance import Pairwise, over_splits
from tests.benchmarks.tables import RESULTS

KEPT = "moleculeace.json"
REFERENCE = "student"


def main() -> None:
    show(json.loads((RESULTS / KEPT).read_text(encoding="utf-8"))["sets"])


def show(sets: Mapping[str, Mapping[str, Any]]) -> None:
    """Print, in Markdown, the means over sets of each method, the best first, of those that every set has."""
    scores, on_cliffs = _scores(sets, "rmse"), _scores(sets, "cliff")
    methods = sorted(scores, key=lambda name: float(scores[name].mean()))
    ranks = dict(zip(methods, rankdata([scores[name] for name in methods], axis=0).mean(axis=1), strict=True))
    pairs = over_splits(methods, np.array([scores[name] for name in methods]), 0.0)
    print(f"| {len(sets)} sets | RMSE ↓ | against `{REFERENCE}` | on cliffs ↓ | mean rank ↓ | best of all on |")
    print("|---|---|---|---|---|---|")
    best = np.argmin([scores[name] for name in methods], axis=0)
    for place, name in enumerate(methods):
        mean = f"{scores[name].mean():.3f}"
        cells = [
            f"**{mean}**" if place == 0 else mean,
            _against(pairs, name),
            f"{on_cliffs[name].mean():.3f}",
            f"{ranks[name]:.1f}",
            f"{int((best == place).sum())}",
        ]
        print(f"| `{name}` | {' | '.join(cells)} |")


def _scores(sets: Mapping[str, Mapping[str, Any]], what: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return a score of each method on each set, of the methods that all sets have."""
    methods = [
        name for name in next(iter(sets.values()))["rows"] if all(name in each["rows"] for each in sets.values())
    ]
    return {name: np.array([each["rows"][name][what] for each in sets.values()]) for name in methods}


def _against(pairs: Pairwise | None, name: str) -> str:
    """Return the difference to the reference, its interval, and a mark where that excludes zero."""
    if pairs is None or name == REFERENCE or REFERENCE not in pairs.methods:
        return ""
    difference, half = pairs.between(name, REFERENCE)
    sure = half and abs(difference) > half
    mark = "" if not sure else "▲ " if difference < 0 else "▼ "
    return f"{mark}{difference:+.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
