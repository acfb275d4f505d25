"""The tables of `docs/benchmarks/models.md`, out of the comparisons that are kept.

    python -m tests.benchmarks.tables

Each `results/DATASET-SPLIT.json` is the `table.json` of one `gallon evaluate`, and a column in the table of its split;
`DATASET-SPLIT-TEXTS.json` is one of other texts than those of `tiny`. Bold is surely better than `student+both`, italic
surely worse: the 95 % interval of the difference, paired by seed, leaves out zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.evaluate.methods import METHODS

RESULTS = Path(__file__).parent / "results"
DATASETS = {"esol": "ESOL", "lipo": "Lipo", "bbbp": "BBBP", "clintox": "ClinTox"}
SPLITS = ("scaffold", "random-scaffold")
TEXTS = {"": "", "-gpt35": ", texts of GPT-3.5"}
BETTER = {"rmse": "RMSE ↓", "roc_auc": "ROC-AUC ↑"}


def main() -> None:
    """Print a table in Markdown for each kind of split."""
    for split in SPLITS:
        columns = {
            title + told: _rows(file)
            for name, title in DATASETS.items()
            for texts, told in TEXTS.items()
            if (file := RESULTS / f"{name}-{split}{texts}.json").exists()
        }
        _print(split, columns)


def _print(split: str, columns: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    heads = [f"{title}, {_metric(rows)}" for title, rows in columns.items()]
    print(f"| {' | '.join([split, *heads])} |")
    print("|---" * (len(heads) + 1) + "|")
    for method in METHODS:
        cells = [_cell(rows.get(method)) for rows in columns.values()]
        if set(cells) != {_cell(None)}:
            print(f"| `{method}` | {' | '.join(cells)} |")
    print()


def _rows(file: Path) -> dict[str, Mapping[str, Any]]:
    return {row["method"]: row for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}


def _metric(rows: Mapping[str, Mapping[str, Any]]) -> str:
    return BETTER[next(iter(rows.values()))["metric"]]


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    text = f"{row['mean']:.3f} ± {row['std']:.3f}"
    low, high = row["interval"] or (0, 0)
    mark = "**" if high < 0 else "*" if low > 0 else ""
    return f"{mark}{text}{mark}"


if __name__ == "__main__":
    main()
