"""The tables of `docs/benchmarks/models.md`, out of the comparisons that are kept.

    python -m tests.benchmarks.tables

Each `results/DATASET-SPLIT.json` is the `table.json` of one `gallon evaluate`, and a column in the table of its split;
`DATASET-SPLIT-TEXTS.json` is one of other texts than those of `tiny`. Of `scaffold-cv` the folder of results is kept,
with all predictions: `gallon evaluate DATASET --recompute --out FOLDER` makes its page again.

Bold is the best mean. Under several splits ▲ is significantly better than `student+both` and ▼ significantly worse, as
`distill.judge.significance` has it. On one split nothing is marked: these runs were made before predictions were kept,
and a bootstrap needs them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from distill.evaluate.methods import METHODS, REFERENCE
from distill.judge.significance import Pairwise, over_splits

RESULTS = Path(__file__).parent / "results"
DATASETS = {"esol": "ESOL", "lipo": "Lipo", "bbbp": "BBBP", "clintox": "ClinTox"}
SPLITS = ("scaffold-cv", "scaffold", "random-scaffold")
TEXTS = {"": "", "-gpt35": ", texts of GPT-3.5"}
METRICS = {"rmse": "RMSE ↓", "roc_auc": "ROC-AUC ↑"}


def main() -> None:
    """Print a table in Markdown for each kind of split."""
    for split in SPLITS:
        columns = {
            title + told: Column.read(file)
            for name, title in DATASETS.items()
            for texts, told in TEXTS.items()
            if (file := _kept(f"{name}-{split}{texts}"))
        }
        if columns:
            _print(split, columns)


def _kept(name: str) -> Path | None:
    """Return the table of a comparison, which is kept alone or with its predictions."""
    return next((file for file in (RESULTS / f"{name}.json", RESULTS / name / "table.json") if file.exists()), None)


@dataclass(frozen=True)
class Column:
    """One comparison.

    Attributes:
        metric: by which methods are ranked.
        rows: of its table, by method.
        pairwise: the differences over its splits; None where there is but one.
    """

    metric: str
    rows: Mapping[str, Mapping[str, Any]]
    pairwise: Pairwise | None

    @classmethod
    def read(cls, file: Path) -> Column:
        facts = json.loads(file.read_text(encoding="utf-8"))
        rows = {row["method"]: row for row in facts["rows"]}
        metric = next(iter(rows.values()))["metric"]
        return cls(metric, rows, _pairwise(facts, metric) if len(facts["splits"]) > 1 else None)

    def cell(self, method: str) -> str:
        """Return what stands in the row of a method."""
        if method not in self.rows:
            return "–"
        row = self.rows[method]
        text = f"{row['mean']:.3f} ± {row['std']:.3f}"
        return f"{self._mark(method)}{f'**{text}**' if method == self._best() else text}"

    def _best(self) -> str:
        means = {method: row["mean"] for method, row in self.rows.items()}
        return (min if self.metric == "rmse" else max)(means, key=means.__getitem__)

    def _mark(self, method: str) -> str:
        if self.pairwise is None or not {method, REFERENCE} <= set(self.pairwise.methods):
            return ""
        gain, half = self.pairwise.between(method, REFERENCE)
        return "▲ " if gain > half else "▼ " if gain < -half else ""


def _pairwise(facts: Mapping[str, Any], metric: str) -> Pairwise | None:
    """Compare the methods that all seeds can score; each seed has a split of its own."""
    scores: dict[str, dict[int, float]] = {}
    for run in facts["runs"]:
        if run["test"][metric] is not None and not math.isnan(run["test"][metric]):
            scores.setdefault(run["method"], {})[run["seed"]] = run["test"][metric]
    seeds = sorted(set.union(*map(set, scores.values())))
    methods = [method for method, of_seeds in scores.items() if len(of_seeds) == len(seeds)]
    sign = -1 if metric == "rmse" else 1
    values = sign * np.array([[scores[method][seed] for seed in seeds] for method in methods])
    counts = [split["labels"][0] for split in facts["splits"]]
    return over_splits(methods, values, fmean(count["test"] / (count["train"] + count["valid"]) for count in counts))


def _print(split: str, columns: Mapping[str, Column]) -> None:
    heads = [f"{title}, {METRICS[column.metric]}" for title, column in columns.items()]
    print(f"| {' | '.join([split, *heads])} |")
    print("|---" * (len(heads) + 1) + "|")
    for method in METHODS:
        cells = [column.cell(method) for column in columns.values()]
        if set(cells) != {"–"}:
            print(f"| `{method}` | {' | '.join(cells)} |")
    print()


if __name__ == "__main__":
    main()
