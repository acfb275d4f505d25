"""The commands that annotate by a provider's batch API."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gallon.cli.options import AsJson, ConfigFile, Library, Overwrite, StoreOption, flatten_options
from gallon.cli.output import print_json, print_table
from gallon.cli.progress import shown, stderr
from gallon.config import DEFAULT_STORE, BatchConfig, LibraryConfig, SpecConfig
from teacher.wording import counted, plain


@flatten_options
def write(
    *,
    library: Library,
    out: Annotated[
        Path,
        typer.Option("--out", help="The first file of requests (.jsonl); further ones have a number in their name."),
    ],
    reading: LibraryConfig,
    spec: SpecConfig,
    batch: BatchConfig,
    overwrite: Overwrite = False,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Write requests in OpenAI's batch format for the molecules of a library that have no record yet.

    Run the same command again after `gallon batch read`: it writes what is left.

    Example: `gallon batch write molecules.smi --model gpt-4o --out requests.jsonl`
    """
    from gallon.api.batch import write_batch

    with shown(stderr()) as progress:
        written = write_batch(
            library,
            out,
            reading=reading,
            spec=spec,
            batch=batch,
            overwrite=overwrite,
            store=store,
            progress=progress,
        )
    facts = {**asdict(written), "files": [str(path) for path in written.files]}
    if as_json:
        print_json(facts)
        return
    print_table(f"Requests under spec {facts.pop('spec')}", {**facts, "files": ", ".join(facts["files"]) or "none"})
    if written.files:
        typer.echo(f"\nNext: have the provider answer {counted(len(written.files), 'file')}, then")
        typer.echo(f"'gallon batch read RESULTS --requests {plain(str(out))}'.")


def read(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS", help="Files that the provider returned: of answers, and of errors."),
    ],
    requests: Annotated[Path, typer.Option("--requests", help="What `gallon batch write` wrote: its --out.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Store the answers to a batch, checked as those of an engine are; reading them again changes nothing.

    Example: `gallon batch read results.jsonl --requests requests.jsonl`
    """
    from gallon.api.batch import read_batch

    with shown(stderr()) as progress:
        found = read_batch(results, requests, store=store, progress=progress)
    facts = {"run": found.run, "spec": found.spec, **asdict(found.ledger)}
    facts |= {"broken": found.broken, "unknown": found.unknown, "unanswered": found.unanswered}
    if as_json:
        print_json({**facts, "models": found.models})
        return
    models = ", ".join(f"{name} ({number:,})" for name, number in found.models.items())
    title = f"Run {facts.pop('run')}, spec {facts.pop('spec')}"
    print_table(title, {**facts, "models": models or None})
    if found.ledger.dead or found.unanswered:
        typer.echo("\nNext: 'gallon dead' for what was rejected; the same 'gallon batch write' asks for what is left.")
