"""What the user sees: tables, progress, and one JSON object for programs."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer

from teacher import strict_json
from teacher.wording import counted, plain

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress as Live
    from rich.progress import ProgressColumn

    from cluster.annotation.annotate import Result
    from cluster.library.source import Source
    from cluster.runs.progress import Progress
    from cluster.store.record import Ledger, Record
    from cluster.store.store import Store
    from cluster.training.driver import FitProgress
    from distill.evaluate.comparison import SeededSplit
    from distill.evaluate.summary import SummaryRow
    from distill.learn.inputs import ModelInputs
    from distill.learn.screening import Screened
    from distill.learn.teach import Trained
    from teacher.llm.spec import Spec


EXAMPLES = 3
EXAMPLES_AMONG = 100  # molecules at the beginning of a library
STYLES = {"better": "bold", "worse": "dim", None: ""}
PLAIN_SECONDS = 30.0  # between lines of progress where there is no terminal


def stderr() -> Console:
    """Return where people are talked to: standard error, so that standard output holds results only.

    It writes to a descriptor of its own, because Ray's chatter on the usual one goes to a log file.
    """
    from rich.console import Console

    return Console(file=os.fdopen(os.dup(2), "w"), soft_wrap=not sys.stderr.isatty())


class PlainProgress:
    """Progress for a log or a pipe: a line when a phase begins, one every so often, and one when it is done."""

    def __init__(self, console: Console, phase: str) -> None:
        self._console, self._phase = console, phase
        self._begun = self._told = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the phase began."""
        return time.monotonic() - self._begun

    def tell(self, how_far: str) -> None:
        """Say how far the phase is, unless something was said a moment ago."""
        if time.monotonic() - self._told >= PLAIN_SECONDS:
            self._say(how_far)

    @contextmanager
    def framed(self) -> Iterator[PlainProgress]:
        """Say that the phase begins, and when its end is reached how long it took."""
        self._say("started")
        yield self
        self._say(f"done in {duration(self.seconds)}")

    def _say(self, words: str) -> None:
        self._told = time.monotonic()
        self._console.print(f"{self._phase}: {words}", markup=False, highlight=False)


@contextmanager
def live_line(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Keep one line about an annotation up to date; in a pipe, say now and then how far it is."""
    from rich.progress import SpinnerColumn, TextColumn

    if not console.is_terminal:
        with PlainProgress(console, "annotation").framed() as plainly:
            yield lambda progress: plainly.tell(_progress_line(progress))
        return
    with _display(console, SpinnerColumn(), TextColumn("{task.description}"), transient=True) as display:
        task = display.add_task("Starting: the first molecule waits for the engine")
        yield lambda progress: display.update(task, description=_progress_line(progress))


def _display(console: Console, *columns: ProgressColumn, transient: bool = False) -> Live:
    """Return a live display that leaves standard output and error where they are.

    Rich would have whatever is written to them appear above the display, and with it all that Ray's libraries say.
    """
    from rich.progress import Progress as Live

    return Live(*columns, console=console, transient=transient, redirect_stdout=False, redirect_stderr=False)


def _progress_line(progress: Progress) -> str:
    done = progress.accepted + progress.dead
    if not done:
        read, to_do = counted(progress.rows, "row"), counted(progress.todo, "molecule")
        return f"{read} read, {to_do} to annotate; starting the engine"
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


def print_summary(store: Store, spec: Spec, result: Result, sources: Sequence[Source], limit: int | None) -> None:
    """Print the ledger and a few records of the library's own molecules."""
    print_table(f"Run {result.run}, spec {spec.id}", _told(result.ledger))
    for record in _examples(store, spec, sources, limit):
        typer.echo(f"\n{plain(record.smiles)}  (agreement with RDKit {record.grounding.score:.2f})")
        typer.echo(f"  {plain(record.text)}")


def _told(ledger: Ledger) -> dict[str, Any]:
    """Return a ledger with what `gallon dead` lists of it, which is dead molecules and rows that hold none."""
    letters = f"{ledger.dead + ledger.invalid:,}"
    if ledger.invalid:
        letters += f" ({counted(ledger.dead, 'molecule')}, {counted(ledger.invalid, 'row')} without a molecule)"
    return {**asdict(ledger), "dead letters": letters}


def _examples(store: Store, spec: Spec, sources: Sequence[Source], limit: int | None) -> list[Record]:
    """Return the first few records about the beginning of a library."""
    from cluster.library.molecules import unique_molecules

    molecules = islice(unique_molecules(sources, limit), EXAMPLES_AMONG)
    records = store.fetch(spec.id, [molecule.key for molecule in molecules])
    return [record for record in records if record is not None][:EXAMPLES]


def print_table(title: str, facts: dict[str, Any]) -> None:
    """Print facts as two columns under a title; what is None is left out."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value is not None:
            grid.add_row(f"  {name.replace('_', ' ')}", Text(_worded(value)))
    console = Console(highlight=False)
    console.print(Text(title, style="bold"))
    console.print(grid)


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
    return {**asdict(screened), **rounded, "path": str(out)}


def print_trained(trained: Sequence[Trained]) -> None:
    """Print how good models are in each part of the split, and where they lie."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    metrics = [name for name in trained[0].metrics["test"] if name not in ("targets", "left_out")]
    table = Table("model", "part", *metrics, "folder", box=None)
    for model in trained:
        for part, values in model.metrics.items():
            first = part == "train"
            shown = [_measured(values[name]) for name in metrics]
            table.add_row(model.name if first else "", part, *shown, Text(plain(str(model.path)) if first else ""))
    Console(highlight=False).print(table)


def print_summary_table(
    model_inputs: ModelInputs, cases: Sequence[SeededSplit], rows: Sequence[SummaryRow], trials: int
) -> None:
    """Print the comparison; what is surely better than the reference is set in bold, what is surely worse dimmed."""
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
        test = f"{row.mean:.3f} ± {row.std:.3f}" if row.seeds else _measured(row.mean)
        cells = [row.method, test, str(row.seeds), _measured(row.valid), chosen]
        table.add_row(*cells, _behind(row) if compared else "", style=STYLES[row.differs])
    Console(highlight=False).print(table)
    dataset, annotations = model_inputs.dataset, model_inputs.annotations
    typer.echo(f"{plain(dataset.name)}, {counted(len(dataset), 'molecule')}, sha256 {dataset.sha256[:12]}")
    for split in dict.fromkeys(case.split.describe() for case in cases):
        typer.echo(plain(split))
    typer.echo(
        f"trials of every method: {trials}; spec of the annotations: {annotations.spec if annotations else 'none'}"
    )


def _measured(value: float) -> str:
    """Return a metric with three decimals, or a dash where nothing could be scored."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def _behind(row: SummaryRow) -> str:
    """Return how far a row is behind the reference: the interval, or where there is none the difference itself."""
    if row.difference is None:
        return "(reference)" if row.seeds else ""
    told = f"{row.interval[0]:+.3f} to {row.interval[1]:+.3f}" if row.interval else f"{row.difference:+.3f}"
    return f"{told}, {row.differs}" if row.differs else told


@contextmanager
def bar(console: Console, what: str) -> Iterator[Callable[[FitProgress], None]]:
    """Show how many of some things are done, with the time that is left; in a pipe, say so now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    if not console.is_terminal:
        with PlainProgress(console, what).framed() as plainly:
            yield lambda done: plainly.tell(_how_many(done, plainly.seconds))
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with _display(console, *columns) as display:
        task = display.add_task(what, total=None)
        yield lambda done: display.update(task, completed=done.done, total=done.all)


def _how_many(done: FitProgress, seconds: float) -> str:
    left = (done.all - done.done) * seconds / done.done if done.done else None
    return f"{done.done:,} of {done.all:,}, {duration(left)} left"


@contextmanager
def counter(console: Console, what: str) -> Iterator[Callable[[int], None]]:
    """Show how many rows are done, and how fast; in a pipe, say so now and then."""
    from rich.progress import TaskProgressColumn, TextColumn, TimeElapsedColumn

    if not console.is_terminal:
        with PlainProgress(console, what).framed() as plainly:
            yield lambda rows: plainly.tell(f"{counted(rows, 'row')}, {rows / plainly.seconds:,.0f} rows/s")
        return
    columns = (TextColumn("{task.completed:,.0f} rows"), TaskProgressColumn(show_speed=True), TimeElapsedColumn())
    with _display(console, *columns) as display:
        task = display.add_task("rows", total=None)
        yield lambda rows: display.update(task, completed=rows)


def print_json(facts: dict[str, Any]) -> None:
    """Print one JSON object, for programs."""
    typer.echo(strict_json.dumps(facts))


def columns(cells: Iterable[str]) -> str:
    """Return a line of columns with tabs between them, as `cut` and spreadsheets read it; cells hold none."""
    return "\t".join(map(plain, cells))
