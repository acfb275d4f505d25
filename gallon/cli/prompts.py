"""The commands about prompts."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from gallon.cli.options import OUTPUT_PANEL, AsJson, Data, Overwrite, flatten_options
from gallon.cli.output import print_json
from gallon.config import DataConfig, EngineConfig, SpecConfig
from teacher.wording import counted, plain

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@flatten_options
def show(
    *,
    prompt_name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE]", help="A prompt that ships with gallon, or a file.")
    ] = None,
    molecule: Annotated[str, typer.Option("--molecule", help="SMILES of the molecule that is asked about.")] = ASPIRIN,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="A cell, NAME=VALUE, for a column that the prompt shows; may be repeated."),
    ] = None,
    spec: SpecConfig,
    engine: EngineConfig,
    as_json: AsJson = False,
) -> None:
    """Print exactly what the model would see of a molecule, and how many tokens that is.

    The chat template and the picture's tokens are those of --model; its weights are not loaded.

    Example: `gallon prompt show describe --molecule CCO --model Qwen/Qwen2.5-VL-7B-Instruct`
    """
    from gallon.api.prompts import show_prompt

    shown = show_prompt(
        molecule, column=column or (), spec=replace(spec, prompt=prompt_name or spec.prompt), engine=engine
    )
    if as_json:
        print_json(asdict(shown))
        return
    for line in shown.text.splitlines():
        typer.echo(plain(line))
    typer.echo(f"\n{counted(shown.tokens, 'token')}; the model takes {counted(shown.context, 'token')}.", err=True)


@flatten_options
def few_shot(
    *,
    data: Data,
    labels: DataConfig,
    out: Annotated[Path, typer.Option(help="OUT.yaml", rich_help_panel=OUTPUT_PANEL)],
    shots: Annotated[int, typer.Option(min=1, max=32, help="Examples that a molecule is asked about with.")] = 8,
    task: Annotated[
        str | None, typer.Option(help="What the property is, in words, or the name of a task, e.g. esol.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a prompt by which an LLM predicts a property from the most similar molecules of the training part.

    The molecule itself is none of its examples, nor is any of the validation and test part. Annotate the same molecules
    with the prompt, and name the spec by --predictions of `gallon teach` and `gallon evaluate`.

    Example: `gallon prompt few-shot solubility.csv --target logS --out few-shot.yaml`
    """
    from gallon.api.prompts import few_shot_prompt

    written = few_shot_prompt(data, labels=labels, out=out, shots=shots, question=task, overwrite=overwrite)
    typer.echo(f"Written to {plain(str(written))}")


def names(as_json: AsJson = False) -> None:
    """List the prompts that ship with gallon, and the questions that --task has names for.

    Example: `gallon prompt list`
    """
    from teacher.llm import prompt as catalog

    prompts = [catalog.load(name) for name in catalog.names()]
    if as_json:
        told = [prompt.model_dump(include={"name", "version", "summary"}) for prompt in prompts]
        print_json({"prompts": told, "tasks": catalog.tasks()})
        return
    for prompt in prompts:
        typer.echo(f"{prompt.name} v{prompt.version}: {prompt.summary}")
    for name, question in catalog.tasks().items():
        typer.echo(f"--task {name}: {question}")
