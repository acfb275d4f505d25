"""The README's tables, out of the comparisons that are kept.

    python -m tests.benchmarks.tables [scaffold|random-scaffold]

Each `results/DATASET-SPLIT.json` is the `table.json` of one `gallon evaluate`; one column each. Bold: the 95 % interval
of the difference from the reference (`distill.evaluate.methods.reference`), paired by seed, leaves out zero.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from distill.evaluate.methods import METHODS

RESULTS = Path(__file__).parent / "results"
DATASETS = ("esol", "lipo", "bbbp", "clintox")
BETTER = {"rmse": "RMSE ↓", "roc_auc": "ROC-AUC ↑"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", nargs="?", default="scaffold", choices=["scaffold", "random-scaffold"])
    print(markdown(parser.parse_args().split))


def markdown(split: str) -> str:
    """Return the table of all datasets under a kind of split, in Markdown."""
    kept = {name: file for name in DATASETS if (file := RESULTS / f"{name}-{split}.json").exists()}
    tables = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in kept.items()}
    cells = {name: {row["method"]: row for row in table["rows"]} for name, table in tables.items()}
    heads = [f"{name} ({table['rows'][0]['seeds']} seeds), {BETTER[_metric(table)]}" for name, table in tables.items()]
    lines = [f"| {' | '.join(['', *heads])} |", "|---" * (len(heads) + 1) + "|"]
    for method in METHODS:
        shown = [_cell(of_dataset.get(method)) for of_dataset in cells.values()]
        if set(shown) != {"–"}:
            lines.append(f"| `{method}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def _metric(table: dict[str, Any]) -> str:
    metric: str = table["rows"][0]["metric"]
    return metric


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    text = f"{row['mean']:.3f} ± {row['std']:.3f}"
    return f"**{text}**" if row["differs"] else text


if __name__ == "__main__":
    main()
