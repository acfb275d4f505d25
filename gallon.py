"""The front door: the `gallon` command. It parses, prints and exits; the work is done in the rooms behind it.

Only light modules are imported here; each command imports what it needs, so that `gallon --help` answers at once.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from teacher.errors import GallonError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from cluster.annotate import Result
    from cluster.library import Source
    from cluster.progress import Progress
    from cluster.ray_session import RaySession
    from cluster.store import Store
    from cluster.training import Done, Trainers
    from distill.data.annotations import Annotations
    from distill.data.features import DescriptorSet
    from distill.data.reading import Reading
    from distill.data.splits import Split
    from distill.evaluate.comparison import Case
    from distill.evaluate.standings import Standing
    from distill.learn.distillation import Weights
    from distill.learn.teach import Trained
    from teacher.catalog import Prompt
    from teacher.engine import EngineSettings
    from teacher.spec import Spec

INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended
EXAMPLES = 3
DEMO_TEACHERS, DEMO_FOLDS = ("dmpnn", "lm"), 3
TINY_IMAGE_SIZE = 224  # what its vision tower sees
IMAGE_SIZE = 500  # GALLON (arXiv 2406.01032)

app = typer.Typer(
    help="Describe molecule libraries by an open multimodal LLM, once, durably, with provenance.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)

# Options that several commands share

Library = Annotated[
    list[str],
    typer.Argument(
        help="Files of the library: .smi, .txt, .csv, .tsv, .sdf (or with .gz, .zst), .parquet; globs, URLs."
    ),
]
Data = Annotated[str, typer.Argument(help="A .csv, .tsv or .parquet file with labels, or a name of MoleculeNet.")]
SmilesColumn = Annotated[str | None, typer.Option(help="The column with the SMILES, in CSV and Parquet.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take only the first so many rows of the library.")]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="GALLON_STORE",
        help="A Redis URL (redis://, rediss://, unix://, redis+cluster://), or the folder of an embedded Redis.",
    ),
]
SpecId = Annotated[
    str | None, typer.Option("--spec", help="Id of a spec, or its beginning; `gallon status` lists them.")
]
RayAddress = Annotated[
    str | None, typer.Option("--ray", help="A Ray cluster's address; default: RAY_ADDRESS, or a local one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of the output.")]
DEFAULT_STORE = "~/.gallon/store"


@dataclass(frozen=True, kw_only=True)
class SpecOptions:
    """What decides an annotation."""

    model: Annotated[str, typer.Option(help="'tiny', a Hugging Face id, or the folder of a checkpoint.")] = "tiny"
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hugging Face model.")] = None
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")] = "auto"
    quantization: Annotated[str | None, typer.Option(help="A quantization that vLLM knows, e.g. fp8.")] = None
    prompt: Annotated[str, typer.Option(help="A prompt of the catalog (describe, gallon) or a file.")] = "describe"
    task: Annotated[str | None, typer.Option(help="The question for a prompt that asks one.")] = None
    smiles: Annotated[bool, typer.Option(help="Give the LLM the SMILES.")] = True
    image: Annotated[bool, typer.Option(help="Give the LLM the drawn structure.")] = True
    image_size: Annotated[int | None, typer.Option(min=32, max=2048, help="Side of the drawing in pixels.")] = None
    graph: Annotated[
        bool | None, typer.Option(help="Give the LLM the bonds as text; default: yes, but for the tiny model.")
    ] = None
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, help="0 is greedy.")] = 0.0
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0, help="Nucleus sampling.")] = 1.0
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer; the prompt has a default.")] = None
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0
    structured: Annotated[bool, typer.Option(help="Hold the answer to the prompt's schema while it is written.")] = True
    min_grounding: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Refuse answers that agree less than this with RDKit.")
    ] = 0.0


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How the annotation is run; nothing here changes what is written."""

    workers: Annotated[int | None, typer.Option(min=1, help="Most annotators; default: 1, or as the GPUs allow.")] = (
        None
    )
    max_attempts: Annotated[int, typer.Option(min=1, help="Attempts before a molecule is a dead letter.")] = 3
    max_dead: Annotated[int | None, typer.Option(min=0, help="Stop at more dead letters; default: any number.")] = None
    max_error_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Stop when a greater share of the molecules become dead letters.")
    ] = 0.5
    stall_minutes: Annotated[float, typer.Option(min=0.1, help="Stop when nothing has happened for so long.")] = 60.0
    concurrency: Annotated[int | None, typer.Option(min=1, help="Molecules that an engine works on at a time.")] = None
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Context in tokens; default: the model's.")] = None
    gpu_memory: Annotated[float, typer.Option(min=0.05, max=1.0, help="Share of each GPU's memory to use.")] = 0.9
    kv_cache_gib: Annotated[float, typer.Option(min=0.1, help="KV cache of an engine on a CPU, in GiB.")] = 1.0
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs that share each layer of the model.")] = 1
    pipeline_parallel: Annotated[int, typer.Option(min=1, help="Groups of GPUs that share the layers.")] = 1
    load_format: Annotated[str, typer.Option(help="How vLLM loads weights; 'dummy' makes random ones.")] = "auto"
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that comes with the model.")] = False
    ray: RayAddress = None
    wait_for_gpus: Annotated[bool, typer.Option(help="Wait for an autoscaler to bring GPUs.")] = False


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What is learnt from, and how it is divided."""

    target: Annotated[list[str] | None, typer.Option(help="A column with labels; may be given several times.")] = None
    smiles_column: SmilesColumn = None
    split: Annotated[str, typer.Option(help="scaffold, random-scaffold, random, or column.")] = "scaffold"
    split_column: Annotated[str | None, typer.Option(help="The column that says train, valid or test.")] = None
    scaffold_chirality: Annotated[
        bool, typer.Option("--scaffold-chirality", help="Tell scaffolds apart by chirality, as GALLON does.")
    ] = False
    data_root: Annotated[Path | None, typer.Option(help="Folder with copies of MoleculeNet's files.")] = None
    seed: Annotated[int, typer.Option(help="Seed of splits, training and folds.")] = 0


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """How networks are trained."""

    out: Annotated[Path | None, typer.Option(help="Folder of the results; default: gallon-models/DATA.")] = None
    workers: Annotated[int | None, typer.Option(min=1, help="Training workers; default: one a GPU or core.")] = None
    folds: Annotated[int, typer.Option(min=0, help="Folds that training molecules are predicted out of; 0: none.")] = 5
    encoder: Annotated[str, typer.Option(help="Text encoder: 'minilm', a Hugging Face id, or a folder.")] = "minilm"
    ray: RayAddress = None


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see the fields of a dataclass parameter as options of the command."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name]))
            continue
        group_hints = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            parameters.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=group_hints[field.name]
                )
            )

    @functools.wraps(command)
    def with_groups(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{field.name: options.pop(field.name) for field in fields(group)})
        command(**options)

    with_groups.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    with_groups.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_groups


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take the defaults of a command's options from a YAML file."""
    if path is None:
        return None
    import yaml

    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"The configuration {path} cannot be read: {' '.join(str(error).split())}.") from None
    if not isinstance(settings, dict):
        raise UsageError(f"The configuration {path} should map names of options to values.")
    settings = {str(name).replace("-", "_"): value for name, value in settings.items()}
    known = {parameter.name for parameter in context.command.params}
    if unknown := sorted(set(settings) - known):
        raise UsageError(f"The configuration {path} sets what this command does not know: {', '.join(unknown)}.")
    context.default_map = {**(context.default_map or {}), **settings}
    return path


Config = Annotated[
    Path | None,
    typer.Option(callback=_read_config, is_eager=True, help="A YAML file with values for these options; flags win."),
]


# The commands


@app.command()
@expanded
def annotate(
    *,
    library: Library,
    smiles_column: SmilesColumn = None,
    limit: Limit = None,
    spec: SpecOptions,
    engine: EngineOptions,
    store: StoreOption = DEFAULT_STORE,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Describe every molecule of a library.

    Run the same command again to resume: molecules that have a record under the same spec are not described again.

    Example: `gallon annotate molecules.csv --smiles-column smiles --model Qwen/Qwen2.5-VL-7B-Instruct`
    """
    from cluster.brakes import refuse_dead
    from cluster.library import resolve

    console, sources = _console(as_json), resolve(library, smiles_column)
    with _annotating(store, engine) as (opened, session):
        made, result = _annotate(sources, limit, spec, engine, store=opened, session=session, console=console)
        if as_json:
            _print_json({"run": result.run, "spec": made.id, **asdict(result.ledger)})
        else:
            _print_summary(opened, made, result)
            typer.echo(
                "\nNext: 'gallon export annotations.parquet' for all annotations, 'gallon status' for the ledger,"
            )
            typer.echo("'gallon dead' for what could not be annotated, 'gallon verify' to recount the library.")
    _stop_if_interrupted(result)
    refuse_dead(result.ledger.dead, engine.max_dead)


@app.command()
@expanded
def demo(
    *,
    limit: Annotated[
        int | None, typer.Option(min=50, help="Take only the first so many of the 1,017 molecules.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("gallon-demo"),
    spec: SpecOptions,
    engine: EngineOptions,
    store: StoreOption = DEFAULT_STORE,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Go the whole way with real molecules, on this machine, without network or GPU.

    Describes 1,017 sodium-channel inhibitors that come with RDKit, trains a graph and a language teacher of their
    activity, distils a student, and scores 4,999 other molecules by it.

    Example: `gallon demo --limit 200`
    """
    from rdkit import RDConfig

    from cluster.library import resolve
    from cluster.training import plan_trainers
    from distill.data import annotations, inhibitors
    from distill.data.moleculenet import load
    from distill.data.reading import Reading
    from distill.data.splits import split
    from distill.learn.screening import screen as score

    console = _console(as_json)
    file, scores = out / "inhibitors.csv", out / "scores.csv"
    inhibitors.write(file, limit)
    dataset = load(str(file), smiles_column=inhibitors.SMILES, targets=[inhibitors.ACTIVITY])
    with _annotating(store, engine) as (opened, session):
        sources = resolve([str(file)], inhibitors.SMILES)
        made, result = _annotate(sources, None, spec, engine, store=opened, session=session, console=console)
        if not as_json:
            _print_summary(opened, made, result)
        _stop_if_interrupted(result)
        texts = annotations.fetch(opened, made, dataset.keys)
        reading = Reading(dataset, texts, out / "reading", processes=os.cpu_count() or 1)
        bench = Bench(reading=reading, folder=out, trainers=plan_trainers(session, None))
        parts = split(dataset, "random", seed=0)
        teachers = _teach(bench, parts, DEMO_TEACHERS, seed=0, folds=DEMO_FOLDS, console=console)
        student = _distil(bench, parts, None, students=["fingerprint"], seed=0, console=console)
        others = resolve([f"{RDConfig.RDDataDir}/NCI/first_5K.smi"])
        with _counter(console) as show:
            screened = score(others, student.path, scores, limit=limit, session=session, show=show)
    facts = {**asdict(screened), "rows_per_second": round(screened.rows_per_second, 1), "path": str(scores)}
    if as_json:
        models = [_facts(model) for model in (*teachers, student)]
        _print_json({"spec": made.id, **asdict(result.ledger), "models": models, "screened": facts})
    else:
        _print_trained([*teachers, student])
        _print_table("Other molecules, scored by the student", facts)


@app.command()
@expanded
def verify(
    *,
    library: Library,
    smiles_column: SmilesColumn = None,
    limit: Limit = None,
    spec: SpecOptions,
    spec_id: SpecId = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also look through every record of the spec.")] = False,
    store: StoreOption = DEFAULT_STORE,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Recount a library against the store: does every molecule have a record or a dead letter?

    Name the spec by the flags that it was annotated with, or by its id. Exit status 1 when molecules are missing, or,
    with --deep, when a record breaks its schema or contradicts its spec.

    Example: `gallon verify molecules.csv --smiles-column smiles --spec 3f2a`
    """
    from cluster.audit import audit
    from cluster.embedded import open_store
    from cluster.library import resolve
    from cluster.store import choose_spec
    from cluster.verify import verify as recount

    sources = resolve(library, smiles_column)
    with open_store(store) as opened:
        chosen = choose_spec(opened, spec_id) if spec_id else _spec(spec)[0]
        verdict = recount(sources, limit=limit, spec_id=chosen.id, store=opened)
        defects = [str(defect) for defect in audit(opened, chosen.id)] if deep else []
    facts = {"spec": chosen.id, **asdict(verdict), "defects": len(defects), "ok": verdict.ok and not defects}
    if as_json:
        _print_json(facts)
    else:
        _print_table("Recount", facts)
    if not verdict.ok:
        raise GallonError(
            f"{verdict.missing:,} molecules have neither a record nor a dead letter under spec {chosen.id}: "
            "run 'gallon annotate' with the same arguments to finish them."
        )
    if defects:
        raise GallonError(
            f"{len(defects):,} defects were found under spec {chosen.id}, the first one: {defects[0]}. "
            "Somebody else wrote to this store, or it was damaged: restore it from a backup."
        )


@app.command()
def status(store: StoreOption = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Show what the store holds: the ledger of every spec, and the latest runs.

    Example: `gallon status --store redis://10.0.0.5`
    """
    from cluster.embedded import open_store
    from cluster.status import status as look

    with open_store(store) as opened:
        found = look(opened)
    if as_json:
        _print_json(found)
        return
    if not found["specs"]:
        raise UsageError("The store is empty: run 'gallon annotate' first, or name another with --store.")
    for spec in found["specs"]:
        _print_table(f"Spec {spec.pop('spec')}", spec)
    for run in found["runs"]:
        _print_table(f"Run {run.pop('run')}", run)


@app.command()
def dead(
    spec_id: SpecId = None,
    retry: Annotated[bool, typer.Option("--retry", help="Put them back among the pending.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write them to this .jsonl file instead of the terminal.")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """List dead letters, or have them tried again by the next `gallon annotate` of their library.

    Example: `gallon dead --out dead.jsonl`
    """
    from cluster.dead import dead_letters, write_jsonl
    from cluster.embedded import open_store
    from cluster.store import choose_spec

    with open_store(store) as opened:
        spec = choose_spec(opened, spec_id)
        if retry:
            retried = opened.retry_dead(spec.id)
            if as_json:
                _print_json({"spec": spec.id, "retried": retried})
            else:
                typer.echo(
                    f"{retried:,} molecules are pending again: run 'gallon annotate' on their library to try them."
                )
            return
        letters = dead_letters(opened, spec)
        if out is not None:
            typer.echo(f"{write_jsonl(letters, out):,} dead letters written to {out}")
        elif as_json:
            _print_json({"spec": spec.id, "dead": [asdict(letter) for letter in letters]})
        else:
            for letter in letters:
                what = letter.smiles or letter.raw or ""
                typer.echo(_plain(f"{letter.source}:{letter.row}\t{letter.stage}\t{what}\t{letter.message}"))


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="OUT.parquet, OUT.jsonl or OUT.csv")],
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write the annotations of a spec to a file, one row a molecule, with their provenance.

    Example: `gallon export annotations.parquet --spec 3f2a`
    """
    from cluster.embedded import open_store
    from cluster.export import export as write
    from cluster.store import choose_spec

    with open_store(store) as opened:
        spec = choose_spec(opened, spec_id)
        rows = write(opened, spec, out)
    if as_json:
        _print_json({"spec": spec.id, "rows": rows, "path": str(out)})
    else:
        typer.echo(f"{rows:,} annotations of spec {spec.id} written to {out}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON lines with smiles, text, model and, if known, more.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Take in annotations made elsewhere, with what is known of their making.

    Each line is a JSON object with `smiles`, `text` and `model`; `revision`, `prompt`, `prompt_version`,
    `finish_reason`, `prompt_tokens` and `completion_tokens` are kept where they are given.

    Example: `gallon import gpt_descriptions.jsonl`
    """
    from cluster.embedded import open_store
    from cluster.importer import import_annotations

    with open_store(store) as opened:
        ledgers = import_annotations(opened, file)
    ledger_facts = [{"spec": spec_id, **asdict(ledger)} for spec_id, ledger in ledgers.items()]
    if as_json:
        keys = ("rows", "molecules", "duplicates", "invalid", "accepted", "dead", "new")
        _print_json({**{key: sum(facts[key] for facts in ledger_facts) for key in keys}, "specs": ledger_facts})
    else:
        for facts in ledger_facts:
            _print_table(f"Imported under spec {facts.pop('spec')}", facts)


@app.command()
@expanded
def teach(
    *,
    data: Data,
    labels: DataOptions,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="gcn, gin, gat, dmpnn, lm or lm-fine-tuned; default: dmpnn, and lm where there are texts."),
    ] = None,
    learning: LearningOptions,
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Train graph and language teachers on labelled molecules.

    The language teacher reads what `gallon annotate` has written about the molecules. The same command again goes on
    where it was stopped.

    Example: `gallon teach solubility.csv --target logS`
    """
    console = _console(as_json)
    with _learning(data, labels, learning, console, where=store, spec_id=spec_id) as bench:
        names = teacher or ["dmpnn", *(["lm"] if bench.reading.annotations else [])]
        parts = bench.split(labels, labels.seed)
        trained = _teach(bench, parts, names, seed=labels.seed, folds=learning.folds, console=console)
    if as_json:
        _print_json({"models": [_facts(model) for model in trained]})
    else:
        _print_trained(trained)


@app.command()
@expanded
def distill(
    *,
    data: Data,
    labels: DataOptions,
    teacher: Annotated[
        list[Path] | None, typer.Option(help="Folder of a teacher; default: those that `gallon teach` left.")
    ] = None,
    student: Annotated[
        list[str] | None,
        typer.Option(help="Input that the student may have: atoms, atoms-1hop, fingerprint; default: all are tried."),
    ] = None,
    descriptors: Annotated[str, typer.Option(help="Beside a fingerprint: all (slow), lean, fast or none.")] = "lean",
    soft_gnn: Annotated[float, typer.Option(min=0, help="Weight of the graph teachers' predictions.")] = 0.5,
    soft_lm: Annotated[float, typer.Option(min=0, help="Weight of the language teachers' predictions.")] = 0.5,
    hidden_gnn: Annotated[float, typer.Option(min=0, help="Weight of the graph teachers' representations.")] = 0.1,
    hidden_lm: Annotated[float, typer.Option(min=0, help="Weight of the language teachers' representations.")] = 0.1,
    temperature: Annotated[float, typer.Option(min=0.1, help="Of the teachers' class probabilities.")] = 1.0,
    learning: LearningOptions,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Distil a student, a small MLP that scores whole libraries, from teachers.

    Takes the same data and split as the `gallon teach` before it. Of several inputs the one that validates best is
    kept.

    Example: `gallon distill solubility.csv --target logS`
    """
    from distill.learn.distillation import Weights

    console = _console(as_json)
    weights = Weights(
        soft_gnn=soft_gnn, soft_lm=soft_lm, hidden_gnn=hidden_gnn, hidden_lm=hidden_lm, temperature=temperature
    )
    with _learning(data, labels, learning, console) as bench:
        parts = bench.split(labels, labels.seed)
        trained = _distil(bench, parts, teacher, students=student, seed=labels.seed, weights=weights, console=console)
    if as_json:
        _print_json({"models": [_facts(trained)]})
    else:
        _print_trained([trained])


@app.command()
@expanded
def evaluate(
    *,
    data: Data,
    labels: DataOptions,
    methods: Annotated[
        str | None, typer.Option(help="Rows of the table, by commas; default: all but chemprop.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many, from --seed on.")] = 5,
    trials: Annotated[int, typer.Option(min=0, help="Optuna trials of every method; 0: its stated defaults.")] = 0,
    learning: LearningOptions,
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Compare baselines, teachers and students on one dataset, over seeds.

    All choices are made on the validation part. Writes `table.json`, `table.csv` and `report.html` into the folder. The
    same command again goes on where it was stopped.

    Example: `gallon evaluate esol --data-root moleculenet --seeds 5`
    """
    from distill.evaluate import comparison, tuning
    from distill.evaluate.provenance import provenance
    from distill.evaluate.report import write as write_report
    from distill.evaluate.standings import standings

    console = _console(as_json)
    with _learning(data, labels, learning, console, where=store, spec_id=spec_id) as bench:
        names = methods.split(",") if methods else comparison.defaults(with_texts=bench.reading.annotations is not None)
        cases = [comparison.Case(seed=seed, split=bench.split(labels, seed)) for seed in _seeds(labels.seed, seeds)]
        settings = comparison.Settings(
            methods=names, folds=learning.folds, folder=bench.folder, trainers=bench.trainers
        )
        with _bar(console, "fits") as show:
            if trials:
                settings = tuning.tuned(bench.reading, cases[0], settings, trials, show)
            runs = comparison.compare(bench.reading, cases, settings, show)
    rows = standings(runs, bench.reading.dataset.kind, comparison.REFERENCE)
    page = write_report(bench.folder, bench.reading, cases, runs, rows, trials=trials)
    if as_json:
        facts = provenance(bench.reading, cases, trials)
        _print_json({**facts, "rows": [asdict(row) for row in rows], "path": str(page)})
    else:
        _print_standings(bench.reading, cases, rows, trials)
        typer.echo(f"\nWritten to {page}")


@app.command()
def screen(
    *,
    library: Library,
    student: Annotated[Path, typer.Option(help="Folder of a student, as `gallon distill` leaves it.")],
    out: Annotated[Path, typer.Option(help="OUT.parquet, OUT.jsonl or OUT.csv")],
    smiles_column: SmilesColumn = None,
    limit: Limit = None,
    ray: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Score a whole library by a student: one row out for each row in.

    Example: `gallon screen library.smi.zst --student gallon-models/esol/student --out scores.parquet`
    """
    from cluster.library import resolve
    from cluster.ray_session import ray_session
    from distill.learn.screening import screen as score

    sources = resolve(library, smiles_column)
    console = _console(as_json)
    with ray_session(ray) as session, _counter(console) as show:
        screened = score(sources, student, out, limit=limit, session=session, show=show)
    facts = {**asdict(screened), "rows_per_second": round(screened.rows_per_second, 1), "path": str(out)}
    if as_json:
        _print_json(facts)
    else:
        _print_table("Screened", facts)


# What learning needs


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What teachers and students are trained with: the dataset, where results go, and the workers."""

    reading: Reading
    folder: Path
    trainers: Trainers

    def split(self, options: DataOptions, seed: int) -> Split:
        """Divide the dataset."""
        from distill.data.splits import check, split

        parts = split(self.reading.dataset, options.split, seed=seed, chirality=options.scaffold_chirality)  # type: ignore[arg-type]
        for warning in dict.fromkeys(check(parts, self.reading.dataset)):
            sys.stderr.write(f"{warning}\n")
        return parts


@contextmanager
def _learning(
    data: str,
    labels: DataOptions,
    learning: LearningOptions,
    console: Console,
    *,
    where: str | None = None,
    spec_id: str | None = None,
) -> Iterator[Bench]:
    """Read the data, fetch the annotations if a store is given, and connect to Ray."""
    from cluster.ray_session import ray_session
    from cluster.training import plan_trainers
    from distill.data.moleculenet import DATA_ROOT, load
    from distill.data.reading import Reading

    dataset = load(
        data,
        smiles_column=labels.smiles_column,
        targets=labels.target or (),
        split_column=labels.split_column,
        data_root=labels.data_root or DATA_ROOT,
    )
    annotations = _annotations(where, spec_id, dataset.keys) if where else None
    folder = learning.out or Path("gallon-models") / dataset.name
    reading = Reading(dataset, annotations, folder / "reading", learning.encoder, os.cpu_count() or 1)
    console.print(_told(reading))
    with ray_session(learning.ray) as session:
        yield Bench(reading=reading, folder=folder, trainers=plan_trainers(session, learning.workers))


def _teach(
    bench: Bench, split: Split, names: Sequence[str], *, seed: int, folds: int, console: Console
) -> list[Trained]:
    from distill.learn.teach import teach as train

    with _bar(console, "teachers") as show:
        return train(
            bench.reading,
            split,
            names,
            seed=seed,
            folds=folds,
            folder=bench.folder,
            trainers=bench.trainers,
            show=show,
        )


def _distil(
    bench: Bench,
    split: Split,
    teachers: Sequence[Path] | None,
    *,
    students: Sequence[str] | None,
    seed: int,
    console: Console,
    weights: Weights | None = None,
    descriptors: DescriptorSet = "lean",
) -> Trained:
    """Distil a student from teachers, or from those that were left in the folder."""
    from distill.learn import distillation, lessons
    from distill.learn.recipes import recipe
    from distill.learn.student import INPUTS

    heard = lessons.read_all(teachers or lessons.find(bench.folder), bench.reading.dataset, split)
    with _bar(console, "students") as show:
        return distillation.distil(
            bench.reading,
            split,
            [lesson for lesson, _ in heard],
            students=[replace(recipe(f"student-{name}"), descriptors=descriptors) for name in students or INPUTS],
            weights=weights or distillation.Weights(),
            seed=seed,
            folder=bench.folder,
            trainers=bench.trainers,
            teachers=[card for _, card in heard],
            show=show,
        )


def _annotations(where: str, spec_id: str | None, keys: Sequence[bytes]) -> Annotations | None:
    """Fetch what was written about molecules; None where the store holds nothing and no spec was asked for."""
    from cluster.embedded import open_store
    from cluster.store import choose_spec
    from distill.data.annotations import fetch

    with open_store(where) as store:
        if spec_id is None and not store.specs():
            return None
        return fetch(store, choose_spec(store, spec_id), keys)


def _told(reading: Reading) -> str:
    """Say what was read, and what of it cannot be learnt from."""
    dataset, annotations = reading.dataset, reading.annotations
    words = [f"{len(dataset):,} molecules"]
    words += [f"{len(dataset.invalid):,} rows hold none"] if dataset.invalid else []
    words += [f"{dataset.duplicates:,} rows repeat one"] if dataset.duplicates else []
    words += [f"{dataset.conflicts:,} labels contradict each other and are left out"] if dataset.conflicts else []
    if annotations and annotations.missing:
        words += [f"{annotations.missing:,} have no annotation: for them there is no language teacher"]
    return "; ".join(words) + "."


def _descriptors(name: str) -> DescriptorSet:
    from distill.data.features import DESCRIPTOR_SETS

    for known in DESCRIPTOR_SETS:
        if known == name:
            return known
    raise UsageError(f"There are no descriptors '{name}': choose out of {', '.join(DESCRIPTOR_SETS)}.")


def _seeds(first: int, number: int) -> range:
    return range(first, first + number)


# What the annotation needs


@contextmanager
def _annotating(where: str, engine: EngineOptions) -> Iterator[tuple[Store, RaySession]]:
    """Open the store and connect to Ray; every node must reach the store."""
    from cluster.embedded import open_store
    from cluster.ray_session import ray_session
    from cluster.resources import check_reachable

    with open_store(where) as store, ray_session(engine.ray) as session:
        check_reachable(store, session)
        yield store, session


def _annotate(
    sources: list[Source],
    limit: int | None,
    options: SpecOptions,
    engine: EngineOptions,
    *,
    store: Store,
    session: RaySession,
    console: Console,
) -> tuple[Spec, Result]:
    from cluster.annotate import annotate as run
    from cluster.brakes import Brakes
    from cluster.metrics import serve_measured
    from cluster.resources import plan_pool
    from teacher.models import TINY, local_path

    spec, prompt = _spec(options)
    if options.model == TINY:
        console.print("The tiny model knows what RDKit taught it: good to try the system, no source of new chemistry.")
    settings = _engine_settings(engine)
    path = local_path(options.model)
    pool = plan_pool(session, path, settings, workers=engine.workers, wait_for_gpus=engine.wait_for_gpus)
    if session.dashboard:
        console.print(f"Ray dashboard: {session.dashboard}", highlight=False)
    brakes = Brakes(max_dead=engine.max_dead, max_error_rate=engine.max_error_rate, stall_minutes=engine.stall_minutes)
    with _live_line(console) as show:
        result = run(
            sources,
            limit=limit,
            spec=spec,
            prompt=prompt,
            store=store,
            session=session,
            engine=functools.partial(serve_measured, spec.model, settings),
            pool=pool,
            max_attempts=engine.max_attempts,
            brakes=brakes,
            show=show,
        )
    return spec, result


def _stop_if_interrupted(result: Result) -> None:
    if result.interrupted:
        sys.stderr.write("Stopped. What is in the ledger is kept; the same command resumes.\n")
        raise typer.Exit(INTERRUPTED)


def _spec(options: SpecOptions) -> tuple[Spec, Prompt]:
    """Make the spec that the options describe.

    Raises:
        UsageError: the options contradict one another, or name what does not exist.
    """
    from pydantic import ValidationError

    from teacher.catalog import load
    from teacher.models import TINY, identify
    from teacher.spec import Model, PromptRef, Sampling, Spec

    prompt = load(options.prompt)
    if prompt.needs_task != (options.task is not None):
        need = "needs a question: give --task" if prompt.needs_task else "asks no question: leave out --task"
        raise UsageError(f"The prompt '{prompt.name}' {need}.")
    image_size = options.image_size or (TINY_IMAGE_SIZE if options.model == TINY else IMAGE_SIZE)
    found = identify(options.model, options.revision)
    try:
        spec = Spec(
            model=Model(
                name=found.name,
                revision=found.revision,
                dtype=found.dtype if options.dtype == "auto" else options.dtype,  # type: ignore[arg-type]
                quantization=options.quantization,
            ),
            prompt=PromptRef.of(prompt),
            task=options.task,
            smiles=options.smiles,
            image_size=image_size if options.image else None,
            graph=options.model != TINY if options.graph is None else options.graph,
            sampling=Sampling(
                temperature=options.temperature,
                top_p=options.top_p,
                max_tokens=options.max_tokens or prompt.max_tokens,
                seed=options.seed,
            ),
            structured=options.structured and prompt.json_schema is not None,
            min_grounding=options.min_grounding,
        )
    except ValidationError as error:
        raise UsageError(f"These options make no spec: {error.errors()[0]['msg']}.") from None
    return spec, prompt


def _engine_settings(options: EngineOptions) -> EngineSettings:
    from cluster.resources import cpu_threads, default_concurrency
    from teacher.engine import EngineSettings

    return EngineSettings(
        max_model_len=options.max_model_len,
        max_num_seqs=options.concurrency or default_concurrency(),
        gpu_memory_utilization=options.gpu_memory,
        kv_cache_bytes=round(options.kv_cache_gib * 2**30),
        cpu_threads=cpu_threads(options.workers or 1),
        tensor_parallel_size=options.tensor_parallel,
        pipeline_parallel_size=options.pipeline_parallel,
        load_format=options.load_format,
        trust_remote_code=options.trust_remote_code,
    )


# What the user sees


def _console(as_json: bool) -> Console:
    """Return where people are talked to: standard error, so that standard output holds results only.

    It writes to a descriptor of its own, because Ray's chatter on the usual one goes to a log file.
    """
    from rich.console import Console

    return Console(file=os.fdopen(os.dup(2), "w"), quiet=as_json and not sys.stderr.isatty())


@contextmanager
def _live_line(console: Console) -> Iterator[Callable[[Progress], None] | None]:
    """Keep one line up to date on a terminal; in a pipe there is none."""
    if not console.is_terminal:
        yield None
        return
    with console.status("Starting: the first molecule waits for the engine") as line:
        yield lambda progress: line.update(_progress_line(progress))


def _progress_line(progress: Progress) -> str:
    done = progress.accepted + progress.dead
    if not done:
        return f"{progress.rows:,} rows read, {progress.todo:,} molecules to annotate; starting the engine"
    eta = progress.eta_seconds
    return (
        f"{progress.accepted:,} accepted, {progress.dead:,} dead, {progress.rate:,.1f} molecules/s, "
        f"{progress.token_rate:,.0f} tokens/s, {_duration(eta)} left"
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _print_summary(store: Store, spec: Spec, result: Result) -> None:
    """Print the ledger and a few records."""
    from itertools import islice

    _print_table(f"Run {result.run}, spec {spec.id}", asdict(result.ledger))
    for _, record in islice(store.records(spec.id), EXAMPLES):
        typer.echo(f"\n{_plain(record.smiles)}  (agreement with RDKit {record.grounding.score:.2f})")
        typer.echo(f"  {_plain(record.text)}")


def _print_table(title: str, facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value is None:
            continue
        shown = f"{value:,}" if isinstance(value, int | float) else _plain(str(value))
        grid.add_row(f"  {name.replace('_', ' ')}", Text(shown))
    console = Console(highlight=False)
    console.print(Text(title, style="bold"))
    console.print(grid)


def _facts(model: Trained) -> dict[str, Any]:
    return {**asdict(model), "path": str(model.path)}


def _print_trained(trained: Sequence[Trained]) -> None:
    from rich.console import Console
    from rich.table import Table

    metrics = [name for name in trained[0].metrics["test"] if name not in ("targets", "left_out")]
    table = Table("model", "part", *metrics, "folder", box=None)
    for model in trained:
        for part, values in model.metrics.items():
            first = part == "train"
            shown = [f"{values[name]:.3f}" for name in metrics]
            table.add_row(model.name if first else "", part, *shown, str(model.path) if first else "")
    Console(highlight=False).print(table)


def _print_standings(reading: Reading, cases: Sequence[Case], rows: Sequence[Standing], trials: int) -> None:
    """Print the comparison; a row is set in bold only where its difference from the reference is sure."""
    from rich.console import Console
    from rich.table import Table

    metric = rows[0].metric
    table = Table("method", f"test {metric}", "std", "seeds", "valid", "chosen", "behind by (95 %)", box=None)
    for row in rows:
        behind = "" if row.difference is None else f"{row.difference:+.3f}"
        interval = "" if row.interval is None else f" [{row.interval[0]:+.3f}, {row.interval[1]:+.3f}]"
        chosen = ", ".join(f"{name} x{times}" for name, times in row.chosen.items())
        cells = [row.method, f"{row.mean:.3f}", f"{row.std:.3f}", str(row.seeds), f"{row.valid:.3f}", chosen]
        table.add_row(*cells, behind + interval, style="bold" if row.differs else "")
    Console(highlight=False).print(table)
    dataset, annotations = reading.dataset, reading.annotations
    typer.echo(f"{dataset.name}, {len(dataset):,} molecules, sha256 {dataset.sha256[:12]}")
    for split in dict.fromkeys(case.split.describe() for case in cases):
        typer.echo(split)
    typer.echo(
        f"trials of every method: {trials}; spec of the annotations: {annotations.spec if annotations else 'none'}"
    )


@contextmanager
def _bar(console: Console, what: str) -> Iterator[Callable[[Done], None] | None]:
    """Show how many fits are done, with the time that is left; in a pipe there is nothing."""
    from rich import progress

    if not console.is_terminal:
        yield None
        return
    left = (progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
    columns = (progress.TextColumn(what), progress.BarColumn(), progress.MofNCompleteColumn(), *left)
    with progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.update(task, completed=done.done, total=done.all)


@contextmanager
def _counter(console: Console) -> Iterator[Callable[[int], None] | None]:
    """Show how many rows are done, and how fast; in a pipe there is nothing."""
    from rich.progress import Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.completed:,.0f} rows"), TaskProgressColumn(show_speed=True), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("rows", total=None)
        yield lambda rows: bar.update(task, completed=rows)


def _print_json(facts: dict[str, Any]) -> None:
    typer.echo(json.dumps(facts))


def _plain(text: str) -> str:
    """Return `text` fit for a terminal: what an LLM or a file wrote may hold control characters."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _interrupt(signal_number: int, frame: object) -> None:
    """End on SIGTERM as on Ctrl-C: in good order."""
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence, never in a traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except GallonError as error:
        sys.stderr.write(f"gallon: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
