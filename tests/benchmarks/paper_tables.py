"""The tables of `docs/benchmarks/papers.md`, out of `results/papers.json`, which `tests.benchmarks.papers` makes.

    python -m tests.benchmarks.paper_tables

A table for each part, with the score of each set on the validation and on the test part; bold is the best mean of the
validation part, by which alone anybody could have chosen. E-LLaGNN's budgets are one table: what is chosen, by what.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.benchmarks.tables import DATASETS, METRICS, RESULTS

Row = Mapping[str, Any]

KEPT = "papers.json"
PARTS = ["ablations", "gallon", "dillm", "mmf", "few-shot", "ranked", "e-llagnn", "depth"]
BUDGETS = (0.05, 0.1, 0.2, 0.5)  # of the training part
CHOICES = ("uncertainty", "coverage", "random")
BUDGET = re.compile(r"e-llagnn (\d+%) by (\w+)")
ALL_TEXTS = "e-llagnn all"


def main() -> None:
    """Print a table in Markdown for each part."""
    rows = json.loads((RESULTS / KEPT).read_text(encoding="utf-8"))["rows"]
    by_part: dict[str, list[Row]] = {}
    for row in rows:
        by_part.setdefault(row["part"], []).append(row)
    for part in [*PARTS, ALL_TEXTS, "gpt35"]:
        if part in by_part and part != "depth":
            _print(part, by_part[part])
    if any(BUDGET.match(part) for part in by_part):
        _print_budgets(by_part)
    if "depth" in by_part:
        _print_depths(by_part["depth"])


def _print(part: str, rows: Sequence[Row]) -> None:
    """Print scores by method, each set's in two columns."""
    sets = _sets(rows)
    heads = [f"{DATASETS[name]}, {METRICS[metric]}, {told}" for name, metric in sets for told in ("validation", "test")]
    _head([part, *heads])
    found = {(row["set"], row["method"]): row for row in rows}
    best = {name: _best([row for row in rows if row["set"] == name]) for name, _ in sets}
    for method in dict.fromkeys(row["method"] for row in rows):
        cells: list[str] = []
        for name, _ in sets:
            cells += _cells(found.get((name, method)), bold=method == best[name])
        print(f"| `{method}` | {' | '.join(cells)} |")
    print()


def _cells(row: Row | None, *, bold: bool) -> tuple[str, str]:
    if row is None:
        return "–", "–"
    valid = f"{row['valid']:.3f}"
    return f"**{valid}**" if bold else valid, f"{row['mean']:.3f} ± {row['std']:.3f}"


def _print_budgets(by_part: Mapping[str, Sequence[Row]]) -> None:
    """Print the test scores of E-LLaGNN by the share of molecules with a text, and by how they were chosen."""
    choices = {BUDGET.match(part): rows for part, rows in by_part.items()}
    found = {
        (row["set"], match[1], match[2]): row for match, rows in choices.items() if match is not None for row in rows
    }
    for name, metric in _sets(found.values()):
        _head([f"{DATASETS[name]}, {METRICS[metric]}", *(f"by {choice}" for choice in CHOICES)])
        for budget in BUDGETS:
            rows = [found.get((name, f"{budget:.0%}", choice)) for choice in CHOICES]
            cells = ["–" if row is None else f"{row['mean']:.3f} ± {row['std']:.3f}" for row in rows]
            print(f"| {budget * 100:.0f} % | {' | '.join(cells)} |")
        print()


def _print_depths(rows: Sequence[Row]) -> None:
    """Print the norms of the gradients of each layer, the first one first."""
    _head(
        [
            "network",
            "layers",
            *(f"{DATASETS[name]}, {told}" for name in _names(rows) for told in ("validation", "norms")),
        ]
    )
    found = {(row["set"], row["method"], row["layers"]): row for row in rows}
    for method, layers in dict.fromkeys((row["method"], row["layers"]) for row in rows):
        cells = []
        for name in _names(rows):
            row = found[name, method, layers]
            cells += [f"{abs(row['valid']):.3f}", ", ".join(f"{norm:.2g}" for norm in row["gradients"])]
        print(f"| `{method}` | {layers} | {' | '.join(cells)} |")
    print()


def _head(heads: Sequence[str]) -> None:
    print(f"| {' | '.join(heads)} |")
    print("|---" * len(heads) + "|")


def _sets(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Return the sets of rows, in the order of the documentation, each with its metric."""
    metrics = {row["set"]: row["metric"] for row in rows}
    return [(name, metrics[name]) for name in DATASETS if name in metrics]


def _names(rows: Iterable[Row]) -> list[str]:
    found = {row["set"] for row in rows}
    return [name for name in DATASETS if name in found]


def _best(rows: Sequence[Row]) -> str:
    """Return the method of the best score on the validation part."""
    better = min if rows[0]["metric"] == "rmse" else max
    return str(better(rows, key=lambda row: row["valid"])["method"])


if __name__ == "__main__":
    main()
