"""The live view of `gallon status --follow`: drawn from what the store says, from any machine that reaches it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gallon.progress import duration
from teacher.wording import counted, plain

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType

    from cluster.runs.status import RunSnapshot
    from cluster.runs.workers import WorkerStatus
    from cluster.store.store import Store

PERIOD_SECONDS = 1.0
WORKERS_SHOWN, ERRORS_SHOWN = 16, 5
BAR_WIDTH = 40


def follow(store: Store, console: Console) -> None:
    """Draw the runs that are alive until Ctrl-C; a store that is gone for a while is waited for."""
    from rich.live import Live
    from rich.text import Text

    from cluster.runs.status import RunMonitor
    from cluster.store.connection import StoreError

    monitor = RunMonitor(store)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            try:
                live.update(view(monitor.snapshot(), time.time()), refresh=True)
            except StoreError as error:
                live.update(Text(plain(f"{error} Trying again; Ctrl-C ends.")), refresh=True)
            time.sleep(PERIOD_SECONDS)


def view(runs: list[RunSnapshot], now: float) -> Group:
    """Return what is drawn of the runs that are alive.

    Args:
        runs: as `cluster.runs.status.RunMonitor` sees them.
        now: seconds since 1970.
    """
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [part for run in runs for part in (*_run(run, now), "")]
    if not runs:
        parts = ["No run is alive: it is shown here when one begins.", ""]
    return Group(*parts, Text("Ctrl-C ends this view, and no run.", style="dim"))


def _run(run: RunSnapshot, now: float) -> list[RenderableType]:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    progress, counts, model = run.progress, run.counts, run.spec.model.name
    prompt = f"{run.spec.prompt.name} v{run.spec.prompt.version}"
    title = Text(f"Run {run.run}", style="bold")
    title.append(
        plain(f"  {model}, {prompt}, on {run.facts['host']} for {duration(now - run.facts['started'])}"), style="dim"
    )
    total = f" of {progress.total_rows:,}" if progress.total_rows else ""
    facts = {
        "rows read": f"{progress.rows:,}{total}",
        "this run": f"{progress.accepted:,} accepted, {progress.dead:,} dead, "
        f"{progress.todo - progress.accepted - progress.dead:,} to do",
        "spec": f"{counts.accepted:,} accepted, {counts.dead:,} dead, {counts.pending:,} pending",
        "pace": f"{progress.rate:,.1f} molecules/s, {progress.token_rate:,.0f} tokens/s",
        "left": duration(progress.eta_seconds),
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(f"  {name}", value)
    expected = progress.todo * progress.total_rows / progress.rows if progress.total_rows and progress.rows else None
    bar = ProgressBar(total=expected, completed=progress.accepted + progress.dead, width=BAR_WIDTH)
    return [title, bar, grid, *_workers(run.workers), *_errors(run)]


def _workers(workers: list[WorkerStatus]) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    if not workers:
        return [Text("  No worker has said anything yet.", style="dim")]
    table = Table("  worker", "GPUs", "engine", "in flight", "accepted", "dead", "engine deaths", box=None)
    for column in table.columns[3:]:
        column.justify = "right"
    for worker in workers[:WORKERS_SHOWN]:
        state = f"silent for {duration(worker.age)}" if worker.silent else worker.engine
        numbers = (worker.in_flight, worker.accepted, worker.dead, worker.deaths)
        name = Text(f"  {plain(worker.worker)}")  # not as markup, which a name might hold
        cells = (f"{worker.gpus:g}", plain(state), *(f"{number:,}" for number in numbers))
        table.add_row(name, *cells, style="red" if worker.silent else "")
    more = len(workers) - WORKERS_SHOWN
    return [table, *([Text(f"  and {counted(more, 'more worker')}", style="dim")] if more > 0 else [])]


def _errors(run: RunSnapshot) -> list[RenderableType]:
    from rich.text import Text

    lines = [
        Text(f"  {time.strftime('%H:%M:%S', time.gmtime(when))}  {plain(message)}", overflow="ellipsis", no_wrap=True)
        for when, message in run.errors[:ERRORS_SHOWN]
    ]
    return [Text("  last errors (UTC)", style="dim"), *lines] if lines else []
