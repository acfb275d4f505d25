"""Scores that others have published on a set of MoleculeNet, to be shown beside a table, never in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

FILE = "published.json"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published score: of which model, where it is from, and on which split (not one of this table's)."""

    model: str
    citation: str
    split: str
    metric: str
    score: float


def published(dataset: str) -> list[Published]:
    """Return what is published on a set, the best first; nothing for other data than MoleculeNet's."""
    known = _known()
    metric = next((metric for metric, sets in known["metrics"].items() if dataset in sets), None)
    if metric is None:
        return []
    rows = [
        Published(
            model=row["model"],
            citation=row["citation"],
            split=known["split"],
            metric=metric,
            score=row["scores"][dataset],
        )
        for row in known["rows"]
    ]
    return sorted(rows, key=lambda row: row.score if metric == "rmse" else -row.score)


@cache
def _known() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    return known
