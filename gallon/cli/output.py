"""What commands print: tables, and one JSON object for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from teacher import strict_json
from teacher.files import placed
from teacher.wording import counted, plain

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from cluster.store.record import Ledger
    from distill.judge.summary import SummaryRow
    from distill.learn.teach import Trained
    from distill.library.beside.embedding import Embedded
    from distill.library.prepare import Prepared
    from distill.library.pretrain import Pretrained
    from distill.screen.screening import Screened
    from gallon.api.annotation import AnnotationResult
    from gallon.api.evaluation import Comparison

WIDTH_OF_FILES = 10_000  # which no table reaches; its columns are as wide as their cells
MARKS = {"better": "▲", "worse": "▼", None: " "}


def print_annotation(result: AnnotationResult) -> None:
    """Print the ledger and a few records of the library's own molecules."""
    print_table(f"Run {result.run}, spec {result.spec}", _with_letters(result.ledger))
    for record in result.examples:
        typer.echo(f"\n{plain(record.smiles)}  (agreement with RDKit {record.grounding.score:.2f})")
        typer.echo(f"  {plain(record.text)}")


def _with_letters(ledger: Ledger) -> dict[str, Any]:
    """Return a ledger with what `gallon dead` lists of it, which is dead molecules and rows that hold none."""
    letters = f"{ledger.dead + ledger.invalid:,}"
    if ledger.invalid:
        letters += f" ({counted(ledger.dead, 'molecule')}, {counted(ledger.invalid, 'row')} without a molecule)"
    return {**asdict(ledger), "dead letters": letters}


def print_table(title: str, facts: dict[str, Any]) -> None:
    """Print facts as two columns under a title; what is None is left out."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value is not None:
            grid.add_row(f"  {name.replace('_', ' ')}", Text(_worded(value)))
    console = console_of_tables()
    console.print(Text(title, style="bold"))
    console.print(grid)


def console_of_tables() -> Console:
    """Return a console as wide as the terminal, or in a file or pipe as what is printed, so that no path is cut."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OF_FILES)


def _worded(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | float) else plain(str(value))


def facts_of(model: Trained) -> dict[str, Any]:
    """Return what is known of a trained model, fit for JSON."""
    return {**asdict(model), "path": str(model.path)}


def screened_facts(screened: Screened, out: Path) -> dict[str, Any]:
    """Return what came of a screening, fit for JSON."""
    rounded = {"seconds": round(screened.seconds, 3), "rows_per_second": round(screened.rows_per_second, 1)}
    return {**asdict(screened), **rounded, "path": str(placed(out))}


def prepared_facts(prepared: Prepared) -> dict[str, Any]:
    """Return what came of a preparation, fit for JSON."""
    manifest = prepared.manifest
    return {
        "rows": manifest.rows,
        "molecules": manifest.molecules,
        "duplicates": manifest.duplicates,
        "invalid": manifest.invalid,
        "reasons": dict(manifest.reasons),
        "shards": len(manifest.shards),
        "new_shards": prepared.new_shards,
        "bytes": manifest.bytes,
        "seconds": round(prepared.seconds, 3),
        "path": str(prepared.path),
    }


def embedded_facts(embedded: Embedded) -> dict[str, Any]:
    """Return what came of embedding, fit for JSON."""
    return {**asdict(embedded), "path": str(embedded.path), "seconds": round(embedded.seconds, 3)}


def pretrained_facts(pretrained: Pretrained) -> dict[str, Any]:
    """Return what came of a pre-training, fit for JSON."""
    card = pretrained.card
    return {
        "teacher": card.recipe,
        "molecules": card.molecules,
        "left_out": card.left_out,
        "epochs": card.epochs,
        "best_epoch": card.best_epoch,
        **{f"explained_{name}": round(share, 4) for name, share in card.explained.items()},
        **{f"retrieved_{name}": round(value, 4) for name, value in card.retrieved.items()},
        "labels": card.labels,
        "seconds": round(card.seconds, 3),
        "path": str(pretrained.path),
    }


def print_trained(trained: Sequence[Trained]) -> None:
    """Print how good models are in each part of the split, and where they lie."""
    from rich.table import Table
    from rich.text import Text

    metrics = [name for name in trained[0].metrics["test"] if name not in ("targets", "left_out")]
    table = Table("model", "part", *metrics, box=None)
    table.add_column("folder", overflow="fold")
    for model in trained:
        for part, values in model.metrics.items():
            first = part == "train"
            shown = [_measured(values[name]) for name in metrics]
            table.add_row(model.name if first else "", part, *shown, Text(plain(str(model.path)) if first else ""))
    console_of_tables().print(table)


def print_comparison(comparison: Comparison) -> None:
    """Print a comparison, the best row bold; ▲ and ▼ are significantly better and worse than the reference."""
    from rich.table import Table

    rows, facts, reference = comparison.rows, comparison.facts, comparison.summary.reference
    table = Table(box=None)
    for heading in ("method", f"test {rows[0].metric}", "n", "valid"):
        table.add_column(heading, no_wrap=True)
    table.add_column("chosen")
    table.add_column(f"gain over {reference} (95 %)" if reference else "", no_wrap=True)
    for place, row in enumerate(rows):
        chosen = ", ".join(f"{name} x{times}" for name, times in row.chosen.items())
        test = f"{MARKS[row.differs]} {row.mean:.3f} ± {row.std:.3f}" if row.seeds else _measured(row.mean)
        cells = [row.method, test, str(row.seeds), _measured(row.valid), chosen, _gain(row)]
        table.add_row(*cells, style="" if place else "bold")
    console_of_tables().print(table)
    typer.echo(plain(comparison.verdict))
    dataset, annotations = facts["dataset"], facts["annotations"]
    typer.echo(
        f"{plain(dataset['name'])}, {counted(dataset['molecules'], 'molecule')}, sha256 {dataset['sha256'][:12]}"
    )
    for split in facts["splits"]:
        typer.echo(plain(split["description"]))
    for network in facts.get("pretrained", {}).values():
        if network["overlap"]:
            typer.echo(plain(f"{network['overlap']}."))
    spec = annotations["spec"] if annotations else "none"
    typer.echo(f"trials of every method: {facts['trials']}; spec of the annotations: {spec}")


def _measured(value: float) -> str:
    """Return a metric with three decimals, or a dash where nothing could be scored."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def _gain(row: SummaryRow) -> str:
    """Return how far a row is ahead of the reference, with the interval of that."""
    if row.gain is None or row.interval is None:
        return ""
    return f"{row.gain:+.3f} ({row.interval[0]:+.3f} to {row.interval[1]:+.3f})"


def print_json(facts: dict[str, Any]) -> None:
    """Print one JSON object, for programs."""
    typer.echo(strict_json.dumps(facts))


def print_written(as_json: bool, /, **files: Path) -> None:
    """Print which files were written, each under its name for programs."""
    if as_json:
        print_json({name: str(path) for name, path in files.items()})
    else:
        typer.echo(f"Written to {' and '.join(plain(str(path)) for path in files.values())}")


def columns(cells: Iterable[str]) -> str:
    """Return a line of columns with tabs between them, as `cut` and spreadsheets read it; cells hold none."""
    return "\t".join(map(plain, cells))
