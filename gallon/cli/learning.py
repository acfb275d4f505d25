"""The commands that learn from labelled molecules, and use what was learned."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gallon.cli.options import (
    AsJson,
    ConfigFile,
    Data,
    Folds,
    LabelCounts,
    Library,
    Methods,
    OtherSpecs,
    Overwrite,
    RayAddress,
    Recompute,
    ReleasedRows,
    Seeds,
    SpecId,
    Start,
    StoreOption,
    Trials,
    Tuning,
    flatten_options,
)
from gallon.cli.output import (
    facts_of,
    print_comparison,
    print_json,
    print_table,
    print_trained,
    print_written,
    screened_facts,
)
from gallon.cli.progress import shown, stderr
from gallon.config import (
    DEFAULT_STORE,
    DataConfig,
    LibraryConfig,
    ObjectiveConfig,
    ShortKeepConfig,
    TeachingConfig,
    TrainConfig,
    TransferConfig,
)
from teacher.errors import UsageError
from teacher.wording import plain

Preset = Annotated[
    str | None,
    typer.Option(
        help="gallon: networks, objective and settings as GALLON released them, where nothing else is said.",
        rich_help_panel="Training",
    ),
]
StudentSeeds = Annotated[
    int,
    typer.Option(
        "--seeds",
        min=1,
        help="Networks of the student, seeds counted on from --seed; their mean predicts.",
        rich_help_panel="Student",
    ),
]


@flatten_options
def teach(
    *,
    data: Data,
    labels: DataConfig,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="gcn, gin, gat, dmpnn, minimol, smiles-encoder, rules, rules-beside, lm, lm-fine-tuned, mmf, "
            "mmf-few-shot, e-llagnn, e-llagnn-sage, e-llagnn-gcn, library-sage or gallon-gcn; default: dmpnn, and lm "
            "where there are annotations.",
            rich_help_panel="Training",
        ),
    ] = None,
    preset: Preset = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Folds that training molecules are predicted out of; 0: none; default: 5.",
            rich_help_panel="Training",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Networks of each teacher, seeds counted on from --seed; students learn their mean.",
            rich_help_panel="Training",
        ),
    ] = 1,
    start: Start = None,
    tuning: Tuning = None,
    training: TrainConfig,
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Train graph and language teachers on labelled molecules.

    The language teacher reads what `gallon annotate` wrote about the molecules. The same command again continues where
    it was stopped.

    Example: `gallon teach solubility.csv --target logS`
    """
    from gallon.api import learning

    with shown(stderr()) as progress:
        trained = learning.teach(
            data,
            labels=labels,
            training=training,
            teacher=separated(teacher),
            preset=preset,
            folds=folds,
            seeds=seeds,
            start=start,
            tuning=tuning,
            spec_id=spec_id,
            store=store,
            progress=progress,
        )
    if as_json:
        print_json({"models": [facts_of(model) for model in trained]})
    else:
        print_trained(trained)


@flatten_options
def distill(
    *,
    data: Data,
    labels: DataConfig,
    teacher_folder: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a teacher; default: those that `gallon teach` left.", rich_help_panel="Student"),
    ] = None,
    student: Annotated[
        str,
        typer.Option(help="mlp, or a graph network in its place: gcn, gin, gat or dmpnn.", rich_help_panel="Student"),
    ] = "mlp",
    student_input: Annotated[
        list[str] | None,
        typer.Option(
            help="Inputs to try for the student: atoms, atoms-1hop, fingerprint; default: all. gallon: GALLON's own "
            "student, as released.",
            rich_help_panel="Student",
        ),
    ] = None,
    preset: Preset = None,
    seeds: StudentSeeds = 1,
    objective: ObjectiveConfig,
    transfer: TransferConfig,
    teaching: TeachingConfig,
    tuning: Tuning = None,
    training: TrainConfig,
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Distill a student, a small MLP that scores whole libraries, from teachers.

    Takes the same data and split as the `gallon teach` before it. Of several inputs the one that validates best is
    kept. With a library given by --transfer the student also learns what the teachers predict for its molecules; the
    language teacher predicts those that are annotated in the store. With --library it learns what graph teachers say of
    all molecules of a prepared library, or of many of them, streamed from disk.

    Example: `gallon distill solubility.csv --target logS --library prepared`
    """
    from gallon.api import learning

    with shown(stderr()) as progress:
        trained = learning.distill(
            data,
            labels=labels,
            training=training,
            objective=objective,
            transfer=transfer,
            teaching=teaching,
            teacher_folder=teacher_folder,
            student=student,
            student_input=separated(student_input),
            preset=preset,
            seeds=seeds,
            tuning=tuning,
            spec_id=spec_id,
            store=store,
            progress=progress,
        )
    if as_json:
        print_json({"models": [facts_of(trained)]})
    else:
        print_trained([trained])


@flatten_options
def evaluate(
    *,
    data: Data,
    labels: DataConfig,
    methods: Methods = None,
    seeds: Seeds = None,
    trials: Trials = 0,
    label_counts: LabelCounts = None,
    recompute: Recompute = False,
    objective: ReleasedRows = None,
    lm: Annotated[
        str,
        typer.Option(
            help="The language teacher that is distilled: lm, lm-fine-tuned, mmf or e-llagnn.",
            rich_help_panel="Comparison",
        ),
    ] = "lm",
    folds: Folds = 5,
    transfer: TransferConfig,
    training: TrainConfig,
    start: Start = None,
    spec_id: SpecId = None,
    other_spec: OtherSpecs = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare baselines, teachers and students on one dataset, over seeds.

    All choices are made on the validation part. Writes `table.json`, `table.csv`, `predictions.parquet` and
    `comparison.html` into the folder. The same command again continues where it was stopped.

    Example: `gallon evaluate esol --data-root moleculenet --split scaffold-cv`
    """
    from gallon.api import evaluation

    with shown(stderr()) as progress:
        comparison = evaluation.evaluate(
            data,
            labels=labels,
            training=training,
            transfer=transfer,
            methods=separated(methods),
            seeds=seeds,
            trials=trials,
            folds=folds,
            label_counts=numbers(label_counts, "--labels"),
            recompute=recompute,
            objective=objective,
            lm=lm,
            start=start,
            spec_id=spec_id,
            other_specs=separated(other_spec),
            store=store,
            progress=progress,
        )
    if as_json:
        rows = [asdict(row) for row in comparison.rows]
        facts = {**comparison.facts, "verdict": comparison.verdict, "rows": rows, "path": str(comparison.page)}
        print_json(facts)
    else:
        print_comparison(comparison)
        typer.echo(f"\nWritten to {plain(str(comparison.page))}")


@flatten_options
def screen(
    *,
    library: Library,
    student: Annotated[
        Path, typer.Option(help="Folder of a student, as `gallon distill` leaves it, or packed, or hf://OWNER/NAME.")
    ],
    out: Annotated[Path, typer.Option(help="OUT.csv, OUT.tsv, OUT.parquet or OUT.jsonl; of SDF also OUT.sdf")],
    overwrite: Overwrite = False,
    keeping: ShortKeepConfig,
    doubt: Annotated[
        bool,
        typer.Option(
            "--doubt/--no-doubt",
            help="Tell how far to trust each prediction: an interval, the nearest training molecule, the domain.",
        ),
    ] = True,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Write only rows that meet a condition, as 'logS<-4' or 'in_domain=true'; may be repeated."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Write only this many rows, the best first.")] = None,
    prefilter: Annotated[
        float | None,
        typer.Option(
            help="Score only the rows that an n-gram student takes for the best: a share, as 0.05, or how many."
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(help="The column that ranks them; default: the first target.")] = None,
    lowest: Annotated[bool, typer.Option("--lowest", help="Low values are the best.")] = False,
    reading: LibraryConfig,
    ray: RayAddress = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Score a whole library with a student: one row out for each row in, with its own columns.

    What is done is kept beside the output: the same command goes on where it was stopped.

    Example: `gallon screen library.smi.zst --student gallon-models/esol/student --out scores.parquet`
    """
    from gallon.api import prediction

    with shown(stderr()) as progress:
        screened = prediction.screen(
            library,
            reading=reading,
            student=student,
            out=out,
            overwrite=overwrite,
            keeping=keeping,
            doubt=doubt,
            where=where or (),
            top=top,
            prefilter=prefilter,
            by=by,
            lowest=lowest,
            ray=ray,
            progress=progress,
        )
    facts = screened_facts(screened, out)
    if as_json:
        print_json(facts)
    else:
        print_table("Screened", facts)


def pack(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a student or a graph teacher.")],
    *,
    out: Annotated[Path, typer.Option(help="OUT.zip, or hf://OWNER/NAME for the Hugging Face Hub")],
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Put a model into one file, which `screen`, `serve` and `gallon.load` take in the place of its folder.

    Example: `gallon pack gallon-models/esol/student --out student.zip`
    """
    from gallon import predictor

    print_written(as_json, path=predictor.pack(model, out, overwrite=overwrite))


def separated(values: list[str] | None) -> list[str]:
    """Return the values of a list option, given several times or separated by commas."""
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def numbers(values: list[str] | None, option: str) -> list[int]:
    """Return the whole numbers of a list option.

    Raises:
        UsageError: one is none.
    """
    found = separated(values)
    if wrong := next((value for value in found if not value.isdecimal()), None):
        raise UsageError(f"{option}: '{wrong}' is no whole number.")
    return [int(value) for value in found]
