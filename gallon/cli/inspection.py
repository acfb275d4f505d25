"""The commands that only look: how runs stand, and what one of them made."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gallon.cli.options import AsJson, Overwrite, StoreOption
from gallon.cli.output import print_json, print_table
from gallon.cli.progress import shown, stderr
from gallon.config import DEFAULT_STORE
from teacher.errors import UsageError
from teacher.wording import counted, plain


def status(
    watch: Annotated[
        bool, typer.Option("--follow", help="Keep showing the runs that are alive, until Ctrl-C.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show what the store holds: the ledger of every spec, and the latest runs.

    With --follow: pace, time left, workers and last errors of the runs that are alive, from any machine that reaches
    the store.

    Example: `gallon status --follow --store redis://10.0.0.5`
    """
    from cluster.runs.status import status as look
    from cluster.store.open import open_store

    if watch:
        _follow(store, as_json=as_json)
        return
    with open_store(store, create=False) as opened:
        found = look(opened)
    if as_json:
        print_json(found)
        return
    if not found["specs"]:
        raise UsageError("The store is empty: run 'gallon annotate' first, or name another with --store.")
    for spec in found["specs"]:
        print_table(f"Spec {spec.pop('spec')}", spec)
    for run in found["runs"]:
        print_table(f"Run {run.pop('run')}", {**run, "workers": len(run["workers"]) or None})


def _follow(where: str, *, as_json: bool) -> None:
    from rich.console import Console

    from cluster.store.open import open_store
    from gallon.cli.follow import follow

    console = Console()
    if as_json or not console.is_terminal:
        raise UsageError("--follow draws on a terminal: leave it out to print how things stand now.")
    with open_store(where, create=False) as opened, suppress(KeyboardInterrupt):
        follow(opened, console)


def report(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Beginning of a run's id; default: the latest run.")
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="The page; default: gallon-report-RUN.html.")] = None,
    overwrite: Overwrite = False,
    gallery: Annotated[int, typer.Option(min=0, help="Molecules in the gallery, at most.")] = 100_000,
    learned: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of `gallon teach`, `distill` or `evaluate` to show too; may be given several times."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page about a run: ledger, pace, agreement with RDKit, dead letters, and a gallery to search.

    The page needs no network and no other file. 100,000 molecules are some 30 MB, and take a few minutes on two cores.

    Example: `gallon report --learned gallon-models/esol`
    """
    from gallon.api import report as pages

    with shown(stderr()) as progress:
        written = pages.report(
            run, out=out, overwrite=overwrite, gallery=gallery, learned=learned or (), store=store, progress=progress
        )
    if as_json:
        print_json({**asdict(written), "path": str(written.path)})
    else:
        extent = f"{written.shown:,} of {counted(written.records, 'record')} of run {written.run}"
        typer.echo(f"{extent}: {plain(str(written.path))} ({written.bytes / 1e6:.1f} MB)")
