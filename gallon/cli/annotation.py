"""The commands that fill the store, recount it and empty it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gallon.cli.options import (
    OUTPUT_PANEL,
    AsJson,
    ConfigFile,
    Library,
    Overwrite,
    SpecId,
    StoreOption,
    flatten_options,
)
from gallon.cli.output import columns, print_annotation, print_json, print_table
from gallon.cli.progress import shown, stderr
from gallon.config import DEFAULT_STORE, EngineConfig, KeepConfig, LibraryConfig, ShortKeepConfig, SpecConfig
from teacher.errors import GallonError, UsageError
from teacher.wording import counted, plain

if TYPE_CHECKING:
    from cluster.store.record import DeadLetter
    from gallon.api.annotation import AnnotationResult
    from gallon.api.planning import Probe, RunPlan
    from teacher.llm.spec import Spec

INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended

Probed = Annotated[
    int | None,
    typer.Option(min=1, help="With --dry-run: annotate N molecules, and say how long the rest will take."),
]
Price = Annotated[
    float | None,
    typer.Option(min=0, help="With --probe: price of a GPU's hour (without GPUs: an annotator's), for the cost."),
]
RowsOut = Annotated[
    Path | None,
    typer.Option(
        help="Write the library's rows, annotated: OUT.csv, OUT.tsv, OUT.parquet, OUT.jsonl; of SDF also OUT.sdf",
        rich_help_panel=OUTPUT_PANEL,
    ),
]


@flatten_options
def annotate(
    *,
    library: Library,
    reading: LibraryConfig,
    spec: SpecConfig,
    engine: EngineConfig,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Count what is to be done and how long prompts are; start and write nothing."),
    ] = False,
    probe: Probed = None,
    price_per_hour: Price = None,
    out: RowsOut = None,
    overwrite: Overwrite = False,
    keeping: KeepConfig,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Describe every molecule of a library.

    Run the same command again to resume: molecules that have a record under the same spec are not described again.
    With --out, every row of the library is then written in order, with its own columns and its annotation, or the
    reason why it has none.

    Example: `gallon annotate molecules.csv --model Qwen/Qwen2.5-VL-7B-Instruct --out annotated.csv`
    """
    from cluster.runs.limits import refuse_dead
    from gallon.api import annotation, planning

    if dry_run:
        with shown(stderr()) as progress:
            plan = planning.plan_run(
                library,
                reading=reading,
                spec=spec,
                engine=engine,
                probe=probe,
                price_per_hour=price_per_hour,
                out=out,
                overwrite=overwrite,
                keeping=keeping,
                store=store,
                progress=progress,
            )
        _print_plan(plan, as_json=as_json)
        return
    if probe is not None or price_per_hour is not None:
        raise UsageError("--probe and --price-per-hour belong to a --dry-run: give it too, or leave them out.")
    with shown(stderr()) as progress:
        result = annotation.annotate(
            library,
            reading=reading,
            spec=spec,
            engine=engine,
            out=out,
            overwrite=overwrite,
            keeping=keeping,
            store=store,
            progress=progress,
        )
    if as_json:
        print_json({"run": result.run, "spec": result.spec, **asdict(result.ledger), **_path_of(result)})
    else:
        print_annotation(result)
        _say_what_is_next(result)
    stop_if_interrupted(result)
    refuse_dead(result.ledger.dead, result.ledger.invalid, engine.max_dead)


def _path_of(result: AnnotationResult) -> dict[str, str]:
    return {"path": str(result.path)} if result.path else {}


def _say_what_is_next(result: AnnotationResult) -> None:
    if result.path:
        typer.echo(f"\n{counted(result.ledger.rows, 'row')} written to {plain(str(result.path))}")
        typer.echo("\nNext: 'gallon status' for the ledger, 'gallon dead' for what could not be annotated.")
        return
    typer.echo("\nNext: 'gallon export annotations.parquet' for all annotations, 'gallon status' for the ledger,")
    typer.echo("'gallon dead' for what could not be annotated, 'gallon verify' to recount the library.")


def _print_plan(plan: RunPlan, *, as_json: bool) -> None:
    """Print what a run would do, and what it would cost."""
    counts = asdict(plan.report)
    facts = {
        "spec": plan.spec,
        **{name: counts[name] for name in ("rows", "molecules", "duplicates", "invalid", "accepted", "dead")},
        "to_annotate": plan.report.missing,
        "mean_prompt_tokens": None if plan.prompt_tokens is None else round(plan.prompt_tokens, 1),
        "longest_prompt_tokens": plan.longest_prompt,
        "total_prompt_tokens": plan.total_prompt_tokens,
        "longest_answer_tokens": plan.max_tokens,
        "context_tokens": plan.context,
        **_estimate(plan.probe),
    }
    if as_json:
        print_json(facts)
    else:
        print_table("Dry run", facts)
        if plan.probe and plan.probe.accepted + plan.probe.dead < 2 * plan.probe.concurrency:
            at_once = counted(plan.probe.concurrency, "molecule")
            typer.echo(f"\nAn engine computes {at_once} at a time: a larger --probe would find it faster.")


def _estimate(probe: Probe | None) -> dict[str, Any]:
    """Return what a probe found, in the numbers that people ask for."""
    if probe is None:
        return {}
    measured = {
        "molecules_per_second_of_an_annotator": probe.molecules_per_second,
        "hours": probe.hours,
        "gpu_hours": probe.gpu_hours,
        "cost": probe.cost,
    }
    return {
        "probe_run": probe.run,
        "probe_accepted": probe.accepted,
        "probe_dead": probe.dead,
        "start_seconds": probe.start_seconds,
        "annotators": probe.annotators,
        "gpus_of_an_annotator": probe.gpus,
        "rest": probe.rest,
        **{name: None if value is None else round(value, 3) for name, value in measured.items()},
    }


@flatten_options
def verify(
    *,
    library: Library,
    reading: LibraryConfig,
    spec: SpecConfig,
    spec_id: SpecId = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also check every record of the spec.")] = False,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Recount a library against the store: does every molecule have a record or a dead letter?

    Name the spec by the flags that it was annotated with, or by its id. Exit status 1 when molecules are missing, or,
    with --deep, when a record breaks its schema or contradicts its spec.

    Example: `gallon verify molecules.csv --smiles-column smiles --spec 3f2a`
    """
    from gallon.api import annotation

    result = annotation.verify(library, reading=reading, spec=spec, spec_id=spec_id, deep=deep, store=store)
    defects = result.defects
    facts = {
        "spec": result.spec,
        **asdict(result.report),
        "defects": None if defects is None else len(defects),
        "ok": result.ok,
    }
    if as_json:
        print_json(facts)
    else:
        print_table("Recount", facts)
    if not result.report.ok:
        raise GallonError(
            f"{counted(result.report.missing, 'molecule')} without a record or a dead letter under spec {result.spec}: "
            f"{_how_to_finish(result.settings, by_id=spec_id is not None)} to finish them."
        )
    if defects:
        raise GallonError(
            f"{counted(len(defects), 'defect')} under spec {result.spec}, the first: {defects[0]}. "
            "Somebody else wrote to this store, or it was damaged: restore it from a backup."
        )


def _how_to_finish(spec: Spec, *, by_id: bool) -> str:
    """Say what fills the gaps of a spec: 'gallon annotate' takes its settings, not its id."""
    from teacher.llm.engines.endpoint import UNPROVEN

    if spec.sampling is None:
        return "run 'gallon import' on texts about them"
    if not by_id:
        return "run 'gallon annotate' with the same arguments"
    if spec.model.revision.startswith(UNPROVEN):
        return "run 'gallon batch write', or 'gallon annotate' with --endpoint, with the settings of this spec"
    return "run 'gallon annotate' with the settings of this spec (it takes no --spec)"


def dead(
    *,
    spec_id: SpecId = None,
    retry: Annotated[bool, typer.Option("--retry", help="Put them back among the pending.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write them to this .jsonl file instead of the terminal.")] = None,
    overwrite: Overwrite = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """List dead letters, or have them tried again by the next `gallon annotate` of their library.

    A line has file and row, stage, molecule and reason, and, where the prompt shows cells of the row, these. With
    --retry, --out still writes the letters, before they are forgotten.

    Example: `gallon dead --out dead.jsonl`
    """
    from cluster.records.dead_letters import dead_letters, write_jsonl
    from cluster.store.open import choose_spec, open_store
    from teacher.files import check_output, placed

    if out is not None:
        out = placed(out)
        check_output(out, suffixes=[".jsonl"], overwrite=overwrite)
    elif overwrite:
        raise UsageError("--overwrite belongs to --out: name it, or leave it out.")
    with open_store(store, create=False) as opened:
        spec = choose_spec(opened, spec_id)
        if retry and spec.sampling is None:
            raise UsageError(
                f"What was imported under spec {spec.id} can be asked of nobody: leave out --retry, and run "
                "'gallon import' on better texts, which replace dead letters."
            )
        letters = dead_letters(opened, spec)
        facts: dict[str, Any] = {"spec": spec.id}
        if out is not None:
            facts |= {"path": str(out), "letters": write_jsonl(letters, out)}
        if retry:
            facts["retried"] = opened.retry_dead(spec.id)  # once they are written: none is listed any more
        if as_json:
            listed = {} if out or retry else {"dead": [asdict(letter) for letter in letters]}
            print_json({**facts, **listed})
            return
        if "letters" in facts:
            typer.echo(f"{counted(facts['letters'], 'dead letter')} written to {plain(str(out))}")
        if "retried" in facts:
            again = _how_to_finish(spec, by_id=True)
            typer.echo(f"{counted(facts['retried'], 'molecule')} back among the pending: {again}, to try again.")
        if not (out or retry):
            _print_letters(letters, spec)


def _print_letters(letters: Iterable[DeadLetter], spec: Spec) -> None:
    from teacher.llm.row_columns import pack_cells

    for letter in letters:
        what = letter.smiles or letter.raw or ""
        cells = [pack_cells(letter.columns)] if spec.columns else []
        typer.echo(columns([f"{letter.source}:{letter.row}", letter.stage, what, letter.message, *cells]))


@flatten_options
def export(
    *,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="OUT.csv, OUT.tsv, OUT.parquet or OUT.jsonl; of SDF also OUT.sdf")
    ],
    library: Annotated[
        list[str] | None,
        typer.Option("--library", help="Write a row for each row of these files, in order, with its columns."),
    ] = None,
    molecules: Annotated[
        list[str] | None,
        typer.Option("--molecules", help="Write only the annotations of the molecules of this library, each once."),
    ] = None,
    reading: LibraryConfig,
    overwrite: Overwrite = False,
    keeping: ShortKeepConfig,
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write the annotations of a spec to a file, with their provenance: one row per molecule, or per row of a library.

    With --library, rows come in the library's order, each with its own columns and its annotation, or the reason why it
    has none.

    Example: `gallon export annotated.csv --library molecules.csv --spec 3f2a`
    """
    from gallon.api import records

    with shown(stderr()) as progress:
        written = records.export(
            out,
            library=library or None,
            reading=reading,
            keeping=keeping,
            molecules=molecules or None,
            spec_id=spec_id,
            store=store,
            overwrite=overwrite,
            progress=progress,
        )
    if as_json:
        print_json({**asdict(written), "path": str(written.path)})
    elif library:
        having = f"{written.annotated:,} with an annotation of spec {written.spec}"
        typer.echo(f"{counted(written.rows, 'row')}, {having}, written to {plain(str(out))}")
    else:
        typer.echo(f"{counted(written.rows, 'annotation')} of spec {written.spec} written to {plain(str(out))}")


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON lines with smiles, text, model and, if known, more.")
    ],
    store: StoreOption = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Import annotations made elsewhere, with what is known of their making.

    Each line is a JSON object with `smiles`, `text` and `model`; `revision`, `prompt`, `prompt_version`,
    `finish_reason`, `prompt_tokens` and `completion_tokens` are kept where they are given. A text whose `finish_reason`
    is known to mean that it is not whole (`length`, `max_tokens`, `content_filter`, ...) becomes a dead letter, which a
    later text that is accepted replaces.

    Example: `gallon import gpt_descriptions.jsonl`
    """
    from cluster.records.importer import import_annotations
    from cluster.store.open import open_store
    from teacher.files import placed

    with open_store(store) as opened:
        ledgers = import_annotations(opened, placed(file))
    ledger_facts = [{"spec": spec_id, **asdict(ledger)} for spec_id, ledger in ledgers.items()]
    if as_json:
        keys = ("rows", "molecules", "duplicates", "invalid", "accepted", "dead", "new")
        print_json({**{key: sum(facts[key] for facts in ledger_facts) for key in keys}, "specs": ledger_facts})
    else:
        for facts in ledger_facts:
            print_table(f"Imported under spec {facts.pop('spec')}", facts)


def stop_if_interrupted(result: AnnotationResult) -> None:
    """Exit where the user stopped the run."""
    if result.interrupted:
        sys.stderr.write("Stopped. What is in the ledger is kept; the same command resumes.\n")
        raise typer.Exit(INTERRUPTED)
