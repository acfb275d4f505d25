"""The commands about what an LLM is asked: prompts about molecules, and rules of a property."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gallon.cli.options import OUTPUT_PANEL, AsJson, Data, Overwrite, flatten_options
from gallon.cli.output import print_json, print_written
from gallon.config import DataConfig, EngineConfig, RulesConfig, SpecConfig
from teacher.wording import counted, plain

if TYPE_CHECKING:
    from distill.rules.rule_set import RuleSet

RulesOut = Annotated[Path, typer.Option(help="OUT.json")]
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@flatten_options
def show(
    *,
    prompt_name: Annotated[
        str | None, typer.Argument(metavar="NAME|FILE", help="A prompt that ships with gallon, or a file.")
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
    as_json: AsJson = False,
) -> None:
    """Write a prompt by which an LLM predicts a property from the most similar molecules of the training part.

    The molecule itself is none of its examples, nor is any of the validation and test part. Annotate the same molecules
    with the prompt, and name the spec by --predictions of `gallon teach` and `gallon evaluate`.

    Example: `gallon prompt few-shot solubility.csv --target logS --out few-shot.yaml`
    """
    from gallon.api.prompts import few_shot_prompt

    written = few_shot_prompt(data, labels=labels, out=out, shots=shots, task=task, overwrite=overwrite)
    print_written(as_json, path=written)


@flatten_options
def rank(
    *,
    data: Data,
    labels: DataConfig,
    out: Annotated[
        Path, typer.Option(help="OUT.yaml; the table to annotate is written as OUT.csv.", rich_help_panel=OUTPUT_PANEL)
    ],
    candidates: Annotated[int, typer.Option(min=9, max=64, help="Similar molecules that are offered for each.")] = 16,
    task: Annotated[
        str | None, typer.Option(help="What the property is, in words, or the name of a task, e.g. esol.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a prompt by which an LLM says which similar molecules tell the most about a molecule's property.

    Candidates are the most similar molecules of the training part, and no label is shown. Annotate the table with the
    prompt, and name the spec by --ranking of `gallon teach` and `gallon evaluate`, for e-llagnn-sage-ranked.

    Example: `gallon prompt rank solubility.csv --target logS --out rank.yaml`
    """
    from gallon.api.prompts import ranking_prompt

    prompt, table = ranking_prompt(data, labels=labels, out=out, candidates=candidates, task=task, overwrite=overwrite)
    print_written(as_json, path=prompt, table=table)


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


def import_rules(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Rules: one JSON object on each line.")],
    *,
    out: RulesOut,
    task: Annotated[
        str | None, typer.Option(help="What they are about, in words; default: as the file says, or --about.")
    ] = None,
    about: Annotated[str | None, typer.Option(help="Of lines that have a task, the one to take.")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Read rules out of files, check them, and keep each once.

    A line is a rule, or one of LLM4SD's features. Files that `gallon rules` wrote are read, too: several become one.

    Example: `gallon rules import llm4sd_features.jsonl --about esol --out esol-rules.json`
    """
    from gallon.rules import collecting

    _tell(collecting.import_rules(list(files), out=out, task=task, about=about, overwrite=overwrite), out, as_json)


@flatten_options
def ask_rules(
    *,
    task: Annotated[str, typer.Option(help="The property, in words.")],
    out: RulesOut,
    overwrite: Overwrite = False,
    asking: RulesConfig,
    as_json: AsJson = False,
) -> None:
    """Ask an LLM, once for a property, which features of a molecule bear on it.

    What it names is checked: descriptors of RDKit's, SMARTS, ratios, bounds; nothing of it is run as code.

    Example: `gallon rules ask --task "solubility in water" --model Qwen/Qwen2.5-7B-Instruct --out rules.json`
    """
    from gallon.rules import collecting

    _tell(collecting.ask_rules(task, out=out, asking=asking, overwrite=overwrite), out, as_json)


def _tell(rules: RuleSet, out: Path, as_json: bool) -> None:
    if as_json:
        print_json({**rules.facts(), "refused": len(rules.refused), "path": str(out)})
        return
    typer.echo(plain(f"{counted(len(rules.rules), 'rule')} about {rules.task}, digest {rules.digest}: {out}"))
    for each in rules.refused:
        typer.echo(plain(f"refused: {each['reason']} ({each['given']})"), err=True)
