"""The commands that run the full pipeline: on a table of the user's, and on molecules that come with RDKit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gallon.cli.annotation import stop_if_interrupted
from gallon.cli.options import AsJson, ConfigFile, Data, SpecId, StoreOption, flatten_options
from gallon.cli.output import (
    facts_of,
    print_annotation,
    print_comparison,
    print_json,
    print_table,
    print_trained,
    screened_facts,
)
from gallon.cli.progress import shown, stderr
from gallon.config import (
    DEFAULT_STORE,
    DataConfig,
    EngineConfig,
    KeepConfig,
    LibraryConfig,
    ObjectiveConfig,
    ShortKeepConfig,
    SpecConfig,
    TeachingConfig,
    TrainConfig,
    TransferConfig,
)
from teacher.wording import plain

if TYPE_CHECKING:
    from distill.learn.teach import Trained
    from gallon.progress import ProgressCallback

TEACHERS, STUDENT, FOLDS = ("dmpnn", "lm"), "fingerprint", 3


@flatten_options
def learn(
    *,
    data: Data,
    labels: DataConfig,
    model: Annotated[
        str, typer.Option(help="The LLM that describes the molecules: 'tiny', a Hugging Face id, or a folder.")
    ] = "tiny",
    texts: Annotated[
        bool,
        typer.Option("--texts/--no-texts", help="Let a language teacher read what an LLM writes of the molecules."),
    ] = True,
    training: TrainConfig,
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Learn a property in one command: annotate, teach, distill, and compare with a baseline.

    Does what `gallon annotate`, `teach`, `distill` and `evaluate` do by default, into one folder. With --spec, texts
    that are in the store are read and nothing is annotated. The same command again continues where it was stopped.

    Example: `gallon learn solubility.csv --target logS`
    """
    from gallon import pipeline

    with shown(stderr()) as progress:
        learned = pipeline.learn(
            data,
            labels=labels,
            training=training,
            model=model,
            texts=texts,
            spec_id=spec_id,
            store=store,
            progress=progress,
        )
    models, comparison = [*learned.teachers, learned.student], learned.comparison
    if as_json:
        annotated = {"spec": learned.annotation.spec, **asdict(learned.annotation.ledger)} if learned.annotation else {}
        rows = [asdict(row) for row in comparison.rows]
        facts = {"models": [facts_of(model) for model in models], "rows": rows, "path": str(comparison.page)}
        print_json({**annotated, **facts})
        return
    if learned.annotation:
        print_annotation(learned.annotation)
    print_trained(models)
    typer.echo("")
    print_comparison(comparison)
    typer.echo(f"\nWritten to {plain(str(comparison.page))}")
    typer.echo(f"Next: gallon screen library.smi --student {plain(str(learned.student.path))} --out scores.csv")


@flatten_options
def demo(
    *,
    limit: Annotated[int | None, typer.Option(min=50, help="Take only the first N of the 1,017 molecules.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("gallon-demo"),
    spec: SpecConfig,
    engine: EngineConfig,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Run the full pipeline on real molecules, on this machine, without network or GPU.

    Describes 1,017 sodium-channel inhibitors that come with RDKit, trains a graph and a language teacher of their
    activity, distills a student, scores 4,999 other molecules with it, and writes a page to look at.

    Example: `gallon demo --limit 200`
    """
    from rdkit import RDConfig

    from cluster.store.open import open_store
    from distill.data import inhibitors
    from distill.models.model_store import check_place
    from gallon.api.annotation import annotate, started_ray
    from gallon.api.prediction import screen
    from gallon.api.report import report
    from teacher.files import placed

    out = placed(out)
    file, scores = out / "inhibitors.csv", out / "scores.csv"
    for name in (*TEACHERS, "student"):
        check_place(out / name)
    inhibitors.write(file, limit)
    reading = LibraryConfig(smiles_column=inhibitors.SMILES)
    others = f"{RDConfig.RDDataDir}/NCI/first_5K.smi"
    with shown(stderr()) as progress, open_store(store), started_ray(engine.ray, progress):
        result = annotate(
            file, reading=reading, spec=spec, engine=engine, keeping=KeepConfig(), store=store, progress=progress
        )
        if not as_json:
            print_annotation(result)
        stop_if_interrupted(result)
        models = _models(file, out, result.spec, store, progress)
        screened = screen(
            others,
            reading=LibraryConfig(limit=limit),
            student=models[-1].path,
            out=scores,
            overwrite=True,
            keeping=ShortKeepConfig(),
            progress=progress,
        )
        page = report(result.run, out=out / "report.html", overwrite=True, learned=out, store=store, progress=progress)
    facts = screened_facts(screened, scores)
    if as_json:
        trained = [facts_of(model) for model in models]
        pages = {"screened": facts, "report": str(page.path)}
        print_json({"spec": result.spec, **asdict(result.ledger), "models": trained, **pages})
    else:
        print_trained(models)
        print_table("Other molecules, scored by the student", facts)
        typer.echo(f"\nTo look at in a browser: {plain(str(page.path))}")


def _models(file: Path, out: Path, spec_id: str, store: str, progress: ProgressCallback) -> list[Trained]:
    """Train the teachers, distill the student, and return them in this order."""
    from distill.data import inhibitors
    from gallon.api.learning import distill, teach

    labels = DataConfig(smiles_column=inhibitors.SMILES, target=(inhibitors.ACTIVITY,), split="random")
    training = TrainConfig(out=out, overwrite=True)
    teachers = teach(
        file,
        labels=labels,
        training=training,
        teacher=TEACHERS,
        folds=FOLDS,
        spec_id=spec_id,
        store=store,
        progress=progress,
    )
    student = distill(
        file,
        labels=labels,
        training=training,
        objective=ObjectiveConfig(),
        transfer=TransferConfig(),
        teaching=TeachingConfig(),
        student_input=STUDENT,
        progress=progress,
    )
    return [*teachers, student]
