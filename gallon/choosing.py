"""The command that plans what an LLM should describe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gallon.options import AsJson, Encoding, Library, Limit, Overwrite, Separator, SmilesColumn
from gallon.show import bar, counter, print_json, print_table, stderr


def choose(
    *,
    library: Library,
    number: Annotated[int, typer.Option(min=1, help="How many molecules to choose.")],
    out: Annotated[Path, typer.Option(help="OUT.csv, OUT.parquet or OUT.jsonl")],
    overwrite: Overwrite = False,
    smiles_column: SmilesColumn = None,
    separator: Separator = None,
    encoding: Encoding = None,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Seed of what is tried.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Choose the molecules of a library that an LLM should describe where it cannot describe all.

    They are chosen so that every molecule has one like it among them; how well that went is told beside what as many
    molecules at random would have done. The teacher e-llagnn learns of all molecules from what is written about these.

    Example: `gallon choose library.smi.zst --number 10000 --out chosen.csv`
    """
    from cluster.library.source import resolve
    from cluster.table_file import WRITERS
    from distill.data import subset
    from teacher.files import check_output

    console, sources = stderr(), resolve(library, smiles_column, separator, encoding)
    check_output(out, suffixes=WRITERS, inputs=[source.path for source in sources], overwrite=overwrite)
    with counter(console, "reading") as show_rows:
        pool = subset.read_pool(sources, limit, show_rows)
    with bar(console, "choosing") as show:
        chosen = subset.choose(pool, number, seed, show)
    subset.write(chosen, pool, out)
    facts = {
        "molecules": len(pool.smiles),
        "chosen": number,
        "coverage": round(chosen.coverage, 3),
        "coverage_at_random": round(chosen.coverage_at_random, 3),
        "path": str(out),
    }
    if as_json:
        print_json(facts)
    else:
        print_table("Chosen", facts)
