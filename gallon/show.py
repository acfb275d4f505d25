"""What the user sees: tables, progress, and one JSON object for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from cluster.annotate import Result
    from cluster.progress import Progress
    from cluster.store import Store
    from cluster.training import Done
    from distill.data.reading import Reading
    from distill.evaluate.comparison import Case
    from distill.evaluate.standings import Standing
    from distill.learn.screening import Screened
    from distill.learn.teach import Trained
    from teacher.spec import Spec


EXAMPLES = 3


def console_for(as_json: bool) -> Console:
    """Return where people are talked to: standard error, so that standard output holds results only.

    It writes to a descriptor of its own, because Ray's chatter on the usual one goes to a log file.
    """
    from rich.console import Console

    return Console(file=os.fdopen(os.dup(2), "w"), quiet=as_json and not sys.stderr.isatty())


@contextmanager
def live_line(console: Console) -> Iterator[Callable[[Progress], None] | None]:
    """Keep one line up to date on a terminal; in a pipe there is none."""
    if not console.is_terminal:
        yield None
        return
    with console.status("Starting: the first molecule waits for the engine") as line:
        yield lambda progress: line.update(_progress_line(progress))


def _progress_line(progress: Progress) -> str:
    done = progress.accepted + progress.dead
    if not done:
        return f"{progress.rows:,} rows read, {progress.todo:,} molecules to annotate; starting the engine"
    eta = progress.eta_seconds
    return (
        f"{progress.accepted:,} accepted, {progress.dead:,} dead, {progress.rate:,.1f} molecules/s, "
        f"{progress.token_rate:,.0f} tokens/s, {duration(eta)} left"
    )


def duration(seconds: float | None) -> str:
    """Say how long something takes; None is not known."""
    if seconds is None:
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def print_summary(store: Store, spec: Spec, result: Result) -> None:
    """Print the ledger and a few records."""
    from itertools import islice

    print_table(f"Run {result.run}, spec {spec.id}", asdict(result.ledger))
    for _, record in islice(store.records(spec.id), EXAMPLES):
        typer.echo(f"\n{plain(record.smiles)}  (agreement with RDKit {record.grounding.score:.2f})")
        typer.echo(f"  {plain(record.text)}")


def print_table(title: str, facts: dict[str, Any]) -> None:
    """Print facts as two columns under a title; what is None is left out."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value is None:
            continue
        shown = f"{value:,}" if isinstance(value, int | float) else plain(str(value))
        grid.add_row(f"  {name.replace('_', ' ')}", Text(shown))
    console = Console(highlight=False)
    console.print(Text(title, style="bold"))
    console.print(grid)


def facts_of(model: Trained) -> dict[str, Any]:
    """Return what is known of a trained model, fit for JSON."""
    return {**asdict(model), "path": str(model.path)}


def screened_facts(screened: Screened, out: Path) -> dict[str, Any]:
    """Return what came of a screening, fit for JSON."""
    rounded = {"seconds": round(screened.seconds, 3), "rows_per_second": round(screened.rows_per_second, 1)}
    return {**asdict(screened), **rounded, "path": str(out)}


def print_trained(trained: Sequence[Trained]) -> None:
    """Print how good models are in each part of the split, and where they lie."""
    from rich.console import Console
    from rich.table import Table

    metrics = [name for name in trained[0].metrics["test"] if name not in ("targets", "left_out")]
    table = Table("model", "part", *metrics, "folder", box=None)
    for model in trained:
        for part, values in model.metrics.items():
            first = part == "train"
            shown = [f"{values[name]:.3f}" for name in metrics]
            table.add_row(model.name if first else "", part, *shown, str(model.path) if first else "")
    Console(highlight=False).print(table)


def print_standings(reading: Reading, cases: Sequence[Case], rows: Sequence[Standing], trials: int) -> None:
    """Print the comparison; a row is set in bold only where its difference from the reference is sure."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for heading in ("method", f"test {rows[0].metric}", "n", "valid"):
        table.add_column(heading, no_wrap=True)
    table.add_column("chosen")
    table.add_column("behind by (95 %)", no_wrap=True)
    compared = any(row.difference is not None for row in rows)
    for row in rows:
        chosen = ", ".join(f"{name} x{times}" for name, times in row.chosen.items())
        cells = [row.method, f"{row.mean:.3f} ± {row.std:.3f}", str(row.seeds), f"{row.valid:.3f}", chosen]
        table.add_row(*cells, _behind(row) if compared else "", style="bold" if row.differs else "")
    Console(highlight=False).print(table)
    dataset, annotations = reading.dataset, reading.annotations
    typer.echo(f"{dataset.name}, {len(dataset):,} molecules, sha256 {dataset.sha256[:12]}")
    for split in dict.fromkeys(case.split.describe() for case in cases):
        typer.echo(split)
    typer.echo(
        f"trials of every method: {trials}; spec of the annotations: {annotations.spec if annotations else 'none'}"
    )


def _behind(row: Standing) -> str:
    """Return how far a row is behind the reference: the interval, or where there is none the difference itself."""
    if row.difference is None:
        return "(reference)"
    return f"{row.interval[0]:+.3f} to {row.interval[1]:+.3f}" if row.interval else f"{row.difference:+.3f}"


@contextmanager
def bar(console: Console, what: str) -> Iterator[Callable[[Done], None] | None]:
    """Show how many fits are done, with the time that is left; in a pipe there is nothing."""
    from rich import progress

    if not console.is_terminal:
        yield None
        return
    left = (progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
    columns = (progress.TextColumn(what), progress.BarColumn(), progress.MofNCompleteColumn(), *left)
    with progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.update(task, completed=done.done, total=done.all)


@contextmanager
def counter(console: Console) -> Iterator[Callable[[int], None] | None]:
    """Show how many rows are done, and how fast; in a pipe there is nothing."""
    from rich.progress import Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.completed:,.0f} rows"), TaskProgressColumn(show_speed=True), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("rows", total=None)
        yield lambda rows: bar.update(task, completed=rows)


def print_json(facts: dict[str, Any]) -> None:
    """Print one JSON object, for programs."""
    typer.echo(json.dumps(facts))


def plain(text: str) -> str:
    """Return `text` fit for a terminal: what an LLM or a file wrote may hold control characters."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
