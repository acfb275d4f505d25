"""`python -m teacher.tiny`: train the tiny model, and measure how true its answers are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from teacher import strict_json
from teacher.errors import GallonError, UsageError
from teacher.llm.models import TINY

if TYPE_CHECKING:
    from teacher.tiny.evaluate import Scores

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Library = Annotated[
    list[Path] | None,
    typer.Option(help="SMILES files (.smi, may be compressed), repeated; default: the 4,999 molecules in RDKit."),
]


@app.callback()
def main() -> None:
    """Train the tiny model, and measure how true its answers are."""


@app.command()
def train(
    *,
    out: Annotated[Path, typer.Option(help="The folder for the checkpoint and the state to go on from.")],
    library: Library = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches to learn from.")] = 3000,
    rate: Annotated[float, typer.Option(min=0.0, help="Highest learning rate, as a share of the full one.")] = 1.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Molecules of a batch.")] = 64,
    start: Annotated[Path | None, typer.Option(help="A checkpoint of this recipe to begin with.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random start, and of the examples.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train from the start, or go on with an interrupted training in the same folder."""
    from teacher.tiny.library import read
    from teacher.tiny.train import Plan
    from teacher.tiny.train import train as run

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the examples are made in a process of their own
    begin = str(start.absolute()) if start else None
    plan = Plan(steps=steps, rate=rate, batch_size=batch_size, start=begin, seed=seed, device=device)
    with _progress() as progress:
        run(read(library), plan, out, progress)


@app.command()
def evaluate(
    library: Library = None,
    model: Annotated[str, typer.Option(help="'tiny', the folder of a checkpoint, or a Hugging Face id.")] = TINY,
    limit: Annotated[int, typer.Option(min=1, help="Molecules to ask about, at most.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Ask about molecules that were never trained on, through vLLM, and compare the answers with RDKit."""
    from teacher.llm import prompt
    from teacher.llm.engines.vllm_arguments import EngineSettings
    from teacher.llm.engines.vllm_engine import VllmEngine
    from teacher.llm.models import TINY_DTYPE, identify, local_path
    from teacher.tiny import evaluate as evaluation
    from teacher.tiny.library import read

    molecules = evaluation.sample(read(library), limit)
    if not molecules:
        raise UsageError("The library has no molecule that is held out from training (one in twenty is): give more.")
    found = identify(model).model_copy(update={"dtype": TINY_DTYPE})
    with TemporaryDirectory() as logs:
        engine = VllmEngine(found, local_path(model), EngineSettings(max_num_seqs=64), Path(logs) / "vllm.log")
        try:
            with _progress() as progress:
                scores = evaluation.evaluate(engine, prompt.load("describe"), molecules, progress)
        finally:
            engine.close()
    result = {
        "model": found.model_dump(),
        "molecules": len(molecules),
        "molecules_digest": evaluation.digest_of(molecules),
        "versions": evaluation.versions(),
        "conditions": {name: asdict(values) for name, values in scores.items()},
    }
    if as_json:
        typer.echo(strict_json.dumps(result))
    else:
        Console().print(_table(scores, len(molecules)))


def _table(scores: Mapping[str, Scores], molecules: int) -> Table:
    table = Table("condition", title=f"{molecules:,} molecules never trained on")
    for field in fields(next(iter(scores.values()))):
        table.add_column(field.name, justify="right")
    for name, values in scores.items():
        table.add_row(name, *(f"{value:.3f}" for value in asdict(values).values()))
    return table


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


if __name__ == "__main__":
    try:
        app()
    except GallonError as error:
        Console(stderr=True).print(f"Error: {error}")
        raise SystemExit(error.exit_code) from None
