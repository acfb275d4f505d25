"""Look at what a model would be asked."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from cluster.runtime.chatter import chatter_to
from cluster.runtime.private import private_folder
from distill.data import few_shot
from distill.data.splits import split
from distill.ranking import prompt as ranking
from gallon.api.data import read_dataset
from gallon.api.library import StrPath
from gallon.api.spec import ResolvedSpec, engine_settings, resolve_spec
from gallon.config import DataConfig, EngineConfig, SpecConfig
from teacher import strict_json
from teacher.chemistry.molecule import InvalidMoleculeError, parse
from teacher.errors import UsageError
from teacher.files import check_output, placed, write_text
from teacher.llm.engine import Request
from teacher.llm.engines.preview import Preview, previews
from teacher.llm.prompt import load, task_text
from teacher.llm.request import build_request
from teacher.llm.row_columns import shown


def show_prompt(molecule: str, *, column: Sequence[str] = (), spec: SpecConfig, engine: EngineConfig) -> Preview:
    """Render the prompt of a molecule exactly as the model would see it; no weights are loaded.

    Args:
        molecule: its SMILES.
        column: a cell for each column that the prompt shows, as NAME=VALUE.
        spec: what decides an annotation.
        engine: how an engine would run.

    Raises:
        UsageError: the SMILES is no molecule, a cell is missing, or the settings contradict one another.
    """
    resolved = resolve_spec(spec)
    if resolved.endpoint is not None:
        raise UsageError("What a server makes of a prompt is not known here: leave out --endpoint.")
    try:
        parsed = parse(molecule.encode())
    except InvalidMoleculeError as error:
        raise UsageError(f"'{molecule}' {error}: give another SMILES.") from None
    cells = {name: shown(cell) for name, cell in _cells(resolved, column).items()}
    request, _ = build_request(parsed.smiles, parsed.key, resolved.spec, resolved.prompt, columns=cells)
    (preview,) = rendered([request], resolved, engine)
    return preview


def few_shot_prompt(
    data: StrPath,
    *,
    labels: DataConfig,
    out: StrPath,
    shots: int = 8,
    task: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a prompt by which an LLM predicts a property from the most similar training molecules.

    Args:
        data: a table with labels, or a name of MoleculeNet.
        labels: the column, and the split, whose training part the examples are of.
        out: a .yaml file.
        shots: how many examples a molecule is asked about with.
        task: what the property is, in words, or the name of a task.
        overwrite: whether a file that is there may be replaced.

    Raises:
        UsageError: data or settings are wrong, or the file must not be written.
    """
    place = placed(out)
    check_output(place, suffixes=[".yaml", ".yml"], inputs=[str(data)], overwrite=overwrite)
    dataset = read_dataset(data, labels)
    parts = split(dataset, labels.split, seed=labels.seed, chirality=labels.scaffold_chirality)  # type: ignore[arg-type]
    prompt = few_shot.few_shot_prompt(dataset, parts, shots=shots, question=task_text(task) if task else None)
    write_text(place, strict_json.dumps(prompt, indent=1, ensure_ascii=False) + "\n")  # JSON is YAML
    load(str(place))  # what cannot be asked is found here
    return place


def ranking_prompt(
    data: StrPath,
    *,
    labels: DataConfig,
    out: StrPath,
    candidates: int = ranking.CANDIDATES,
    task: str | None = None,
    overwrite: bool = False,
) -> tuple[Path, Path]:
    """Write a prompt by which an LLM puts candidates for a molecule's neighbours in an order, and the table it shows.

    Args:
        data: a table with labels, or a name of MoleculeNet.
        labels: the columns, and the split, whose training part the candidates are of.
        out: a .yaml file; the table is written beside it, of the same name, as .csv.
        candidates: how many are offered for each molecule.
        task: what the property is, in words, or the name of a task.
        overwrite: whether files that are there may be replaced.

    Returns:
        The prompt and the table, which has a row for each molecule: `smiles` and `candidate_1`, `candidate_2`, ...

    Raises:
        UsageError: data or settings are wrong, or a file must not be written.
    """
    place = placed(out)
    table = place.with_suffix(".csv")
    check_output(place, suffixes=[".yaml", ".yml"], inputs=[str(data)], overwrite=overwrite)
    check_output(table, suffixes=[".csv"], inputs=[str(data)], overwrite=overwrite)
    dataset = read_dataset(data, labels)
    parts = split(dataset, labels.split, seed=labels.seed, chirality=labels.scaffold_chirality)  # type: ignore[arg-type]
    targets = [target.name for target in dataset.targets]
    prompt = ranking.ranking_prompt(targets, candidates=candidates, question=task_text(task) if task else None)
    rows = ranking.candidate_rows(dataset, ranking.candidates_of(dataset, parts, candidates))
    write_text(place, strict_json.dumps(prompt, indent=1, ensure_ascii=False) + "\n")  # JSON is YAML
    load(str(place))  # what cannot be asked is found here
    written = StringIO()
    csv.writer(written, lineterminator="\n").writerows(
        [
            ["smiles", *ranking.column_names(candidates)],
            *([smiles, *row] for smiles, row in zip(dataset.smiles, rows, strict=True)),
        ]
    )
    write_text(table, written.getvalue())
    return place, table


def rendered(requests: Sequence[Request], resolved: ResolvedSpec, engine: EngineConfig) -> list[Preview]:
    """Render requests as an engine would, and keep to a file what vLLM says meanwhile."""
    settings = engine_settings(engine, resolved, cpu_threads=None, concurrency=1)
    with chatter_to(private_folder() / "prompts-vllm.log"):
        return previews(requests, resolved.spec.model, resolved.weights, settings)


def _cells(resolved: ResolvedSpec, given: Sequence[str]) -> dict[str, str]:
    """Read cells that are given as NAME=VALUE.

    Raises:
        UsageError: one has no value, or they are not those that the prompt shows.
    """
    cells = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--column '{text}' has no value: give NAME=VALUE.")
        cells[name.strip()] = value
    wanted = resolved.spec.columns
    if unknown := next((name for name in cells if name not in wanted), None):
        has = f"those that it shows are {', '.join(wanted)}" if wanted else "it shows none"
        raise UsageError(f"The prompt '{resolved.prompt.name}' shows no column '{unknown}': {has}.")
    if missing := next((name for name in wanted if name not in cells), None):
        raise UsageError(
            f"The prompt '{resolved.prompt.name}' shows the column '{missing}': give a value, --column {missing}=VALUE."
        )
    return cells
