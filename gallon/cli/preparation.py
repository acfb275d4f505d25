"""The command that prepares a library for learning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gallon.cli.options import AsJson, ConfigFile, Library, Overwrite, RayAddress, flatten_options
from gallon.cli.output import prepared_facts, print_json, print_table
from gallon.cli.progress import shown, stderr
from gallon.config import LibraryConfig


@flatten_options
def prepare(
    *,
    library: Library,
    out: Annotated[Path, typer.Option(help="Folder of the shards.")],
    overwrite: Overwrite = False,
    descriptors: Annotated[
        str, typer.Option(help="Descriptors beside a fingerprint: all (slow), lean, estimated (fast) or none.")
    ] = "lean",
    reading: LibraryConfig,
    ray: RayAddress = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Describe the molecules of a library once, so that students learn from all of it.

    Graphs, fingerprints and descriptors go to disk as shards of a few thousand rows, about 0.5 kB a molecule; nothing
    holds more than a few of them. Rows without a molecule and duplicates are counted and kept with the reason. The same
    command again continues where it was stopped.

    Example: `gallon prepare library.smi.zst --out prepared`
    """
    from gallon.api import preparation

    with shown(stderr()) as progress:
        prepared = preparation.prepare(
            library,
            reading=reading,
            out=out,
            overwrite=overwrite,
            descriptors=descriptors,
            ray=ray,
            progress=progress,
        )
    facts = prepared_facts(prepared)
    if as_json:
        print_json(facts)
    else:
        print_table("Prepared", {name: value for name, value in facts.items() if name != "reasons"})
