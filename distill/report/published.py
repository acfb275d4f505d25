"""Scores that others have published on a set of MoleculeNet, to be shown beside a table, never in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from distill.learn.metrics import main_metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distill.data.cells import Kind

FILE = "published.json"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published score: of which model, where it is from, and on which split (not one of this table's)."""

    model: str
    citation: str
    split: str
    metric: str
    score: float


def benchmark_name(dataset: Mapping[str, Any]) -> str | None:
    """Return the name of a set of MoleculeNet; None for other data, whatever its name.

    Args:
        dataset: as in `distill.evaluate.provenance.provenance`.
    """
    return dataset["name"] if dataset.get("benchmark") else None


def published(name: str | None, kind: Kind) -> list[Published]:
    """Return what is published on a set of MoleculeNet, the best first; nothing for other data.

    Args:
        name: of the set (`benchmark_name`).
        kind: what its labels were taken for, which has to be what others took them for.
    """
    known, metric = _known(), main_metric(kind)
    if name not in known["metrics"][metric]:
        return []
    rows = [
        Published(
            model=row["model"],
            citation=row["citation"],
            split=known["split"],
            metric=metric,
            score=row["scores"][name],
        )
        for row in known["rows"]
    ]
    return sorted(rows, key=lambda row: row.score if metric == "rmse" else -row.score)


@cache
def _known() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    return known
