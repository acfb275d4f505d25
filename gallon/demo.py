"""The command that goes the whole way."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gallon.annotation import annotating, ordered, run_annotation, stop_if_interrupted
from gallon.learning import Bench, run_distillation, run_teaching
from gallon.options import (
    DEFAULT_STORE,
    AsJson,
    Config,
    EngineOptions,
    SpecOptions,
    StoreOption,
    expanded,
)
from gallon.show import (
    counter,
    facts_of,
    print_json,
    print_summary,
    print_table,
    print_trained,
    screened_facts,
    stderr,
)
from teacher.wording import plain

DEMO_TEACHERS, DEMO_STUDENT, DEMO_FOLDS = ("dmpnn", "lm"), "student-fingerprint", 3


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
    activity, distils a student, scores 4,999 other molecules by it, and writes a page to look at.

    Example: `gallon demo --limit 200`
    """
    from rdkit import RDConfig

    from cluster.library.source import resolve
    from cluster.training.driver import plan_resources
    from distill.data import annotations, inhibitors
    from distill.data.moleculenet import load
    from distill.data.splits import split
    from distill.learn.inputs import ModelInputs
    from distill.learn.model_store import check_place
    from distill.learn.screening import screen as score
    from distill.report.run import write as write_page

    console, order = stderr(), ordered(spec)
    file, scores = out / "inhibitors.csv", out / "scores.csv"
    for name in (*DEMO_TEACHERS, "student"):
        check_place(out / name)
    inhibitors.write(file, limit)
    dataset = load(str(file), smiles_column=inhibitors.SMILES, targets=[inhibitors.ACTIVITY])
    with annotating(store, engine) as (opened, session):
        sources = resolve([str(file)], inhibitors.SMILES)
        result = run_annotation(sources, None, order, engine, store=opened, session=session, console=console)
        if not as_json:
            print_summary(opened, order.spec, result, sources, None)
        stop_if_interrupted(result)
        texts = annotations.fetch(opened, order.spec, dataset.keys)
        model_inputs = ModelInputs(dataset, texts, out / "inputs", processes=os.cpu_count() or 1)
        parts = split(dataset, "random", seed=0)
        bench = Bench(model_inputs=model_inputs, splits=[parts], folder=out, resources=plan_resources(session, None))
        recipes = [bench.recipe(name) for name in DEMO_TEACHERS]
        teachers = run_teaching(bench, recipes, seed=0, folds=DEMO_FOLDS, console=console)
        student = run_distillation(bench, None, students=[bench.recipe(DEMO_STUDENT)], seed=0, console=console)
        others = resolve([f"{RDConfig.RDDataDir}/NCI/first_5K.smi"])
        with counter(console, "screening") as show:
            screened = score(others, student.path, scores, limit=limit, session=session, show=show)
        page = write_page(opened, result.run, out / "report.html", most=len(dataset), folders=[out])
    facts = screened_facts(screened, scores)
    if as_json:
        models = [facts_of(model) for model in (*teachers, student)]
        print_json(
            {
                "spec": order.spec.id,
                **asdict(result.ledger),
                "models": models,
                "screened": facts,
                "report": str(page.path),
            }
        )
    else:
        print_trained([*teachers, student])
        print_table("Other molecules, scored by the student", facts)
        typer.echo(f"\nTo look at in a browser: {plain(str(page.path))}")
