"""The commands that fill, look into and empty the store."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gallon.options import (
    DEFAULT_STORE,
    AsJson,
    Config,
    Encoding,
    EngineOptions,
    Library,
    Limit,
    Overwrite,
    Separator,
    SmilesColumn,
    SpecId,
    SpecOptions,
    StoreOption,
    expanded,
)
from gallon.show import (
    columns,
    live_line,
    print_json,
    print_summary,
    print_table,
    stderr,
)
from teacher.errors import GallonError, UsageError
from teacher.wording import counted, plain

if TYPE_CHECKING:
    from rich.console import Console

    from cluster.annotation.annotate import Result
    from cluster.library.source import Source
    from cluster.runtime.session import RaySession
    from cluster.store.store import Store
    from teacher.llm.engine import EngineSettings
    from teacher.llm.prompt import Prompt
    from teacher.llm.spec import Spec


INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended
TINY_IMAGE_SIZE = 224  # what its vision tower sees
IMAGE_SIZE = 500  # GALLON (arXiv 2406.01032)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be written: under which spec, by which prompt, and with the weights in which place."""

    spec: Spec
    prompt: Prompt
    weights: str


@expanded
def annotate(
    *,
    library: Library,
    smiles_column: SmilesColumn = None,
    separator: Separator = None,
    encoding: Encoding = None,
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
    from cluster.library.source import resolve
    from cluster.runs.limits import refuse_dead

    console, sources, order = stderr(), resolve(library, smiles_column, separator, encoding), ordered(spec)
    with annotating(store, engine) as (opened, session):
        result = run_annotation(sources, limit, order, engine, store=opened, session=session, console=console)
        if as_json:
            print_json({"run": result.run, "spec": order.spec.id, **asdict(result.ledger)})
        else:
            print_summary(opened, order.spec, result, sources, limit)
            typer.echo(
                "\nNext: 'gallon export annotations.parquet' for all annotations, 'gallon status' for the ledger,"
            )
            typer.echo("'gallon dead' for what could not be annotated, 'gallon verify' to recount the library.")
    stop_if_interrupted(result)
    refuse_dead(result.ledger.dead, result.ledger.invalid, engine.max_dead)


@expanded
def verify(
    *,
    library: Library,
    smiles_column: SmilesColumn = None,
    separator: Separator = None,
    encoding: Encoding = None,
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
    from cluster.library.source import resolve
    from cluster.records.completeness import verify as recount
    from cluster.records.integrity import audit
    from cluster.store.open import choose_spec, open_store

    sources = resolve(library, smiles_column, separator, encoding)
    with open_store(store, create=False) as opened:
        chosen = choose_spec(opened, spec_id) if spec_id else _spec(spec)[0]
        verdict = recount(sources, limit=limit, spec_id=chosen.id, store=opened)
        defects = [str(defect) for defect in audit(opened, chosen.id)] if deep else []
    ok = verdict.ok and not defects
    facts = {"spec": chosen.id, **asdict(verdict), "defects": len(defects) if deep else None, "ok": ok}
    if as_json:
        print_json(facts)
    else:
        print_table("Recount", facts)
    if not verdict.ok:
        raise GallonError(
            f"{counted(verdict.missing, 'molecule')} without a record or a dead letter under spec {chosen.id}: "
            "run 'gallon annotate' with the same arguments to finish them."
        )
    if defects:
        raise GallonError(
            f"{counted(len(defects), 'defect')} under spec {chosen.id}, beginning with this: {defects[0]}. "
            "Somebody else wrote to this store, or it was damaged: restore it from a backup."
        )


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

    Example: `gallon dead --out dead.jsonl`
    """
    from cluster.records.dead_letters import dead_letters, write_jsonl
    from cluster.store.open import choose_spec, open_store
    from teacher.files import check_output

    if out is not None:
        check_output(out, suffixes=[".jsonl"], overwrite=overwrite)
    with open_store(store, create=False) as opened:
        spec = choose_spec(opened, spec_id)
        if retry:
            retried = opened.retry_dead(spec.id)
            if as_json:
                print_json({"spec": spec.id, "retried": retried})
            else:
                again = "run 'gallon annotate' on their library to try again"
                typer.echo(f"{counted(retried, 'molecule')} back among the pending: {again}.")
            return
        letters = dead_letters(opened, spec)
        if out is not None:
            typer.echo(f"{counted(write_jsonl(letters, out), 'dead letter')} written to {plain(str(out))}")
        elif as_json:
            print_json({"spec": spec.id, "dead": [asdict(letter) for letter in letters]})
        else:
            for letter in letters:
                what = letter.smiles or letter.raw or ""
                typer.echo(columns([f"{letter.source}:{letter.row}", letter.stage, what, letter.message]))


def export(
    out: Annotated[Path, typer.Argument(help="OUT.parquet, OUT.jsonl or OUT.csv")],
    overwrite: Overwrite = False,
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write the annotations of a spec to a file, one row a molecule, with their provenance.

    Example: `gallon export annotations.parquet --spec 3f2a`
    """
    from cluster.records.export import export as write
    from cluster.store.open import choose_spec, open_store
    from cluster.table_file import WRITERS
    from teacher.files import check_output

    check_output(out, suffixes=WRITERS, overwrite=overwrite)
    with open_store(store, create=False) as opened:
        spec = choose_spec(opened, spec_id)
        rows = write(opened, spec, out)
    if as_json:
        print_json({"spec": spec.id, "rows": rows, "path": str(out)})
    else:
        typer.echo(f"{counted(rows, 'annotation')} of spec {spec.id} written to {plain(str(out))}")


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
    from cluster.records.importer import import_annotations
    from cluster.store.open import open_store

    with open_store(store) as opened:
        ledgers = import_annotations(opened, file)
    ledger_facts = [{"spec": spec_id, **asdict(ledger)} for spec_id, ledger in ledgers.items()]
    if as_json:
        keys = ("rows", "molecules", "duplicates", "invalid", "accepted", "dead", "new")
        print_json({**{key: sum(facts[key] for facts in ledger_facts) for key in keys}, "specs": ledger_facts})
    else:
        for facts in ledger_facts:
            print_table(f"Imported under spec {facts.pop('spec')}", facts)


@contextmanager
def annotating(where: str, engine: EngineOptions) -> Iterator[tuple[Store, RaySession]]:
    """Open the store and connect to Ray; every node must reach the store."""
    from cluster.annotation.resources import check_reachable
    from cluster.runtime.session import ray_session
    from cluster.store.open import open_store

    with open_store(where) as store:
        store.check_policy()
        with ray_session(engine.ray) as session:
            check_reachable(store, session)
            yield store, session


def ordered(options: SpecOptions) -> Order:
    """Make the spec that the options describe, before anything is started that a mistake would have to wait for.

    Raises:
        UsageError: the options contradict one another, or name what does not exist.
    """
    from teacher.llm.models import local_path

    spec, prompt = _spec(options)
    return Order(spec, prompt, local_path(options.model))


def run_annotation(
    sources: list[Source],
    limit: int | None,
    order: Order,
    engine: EngineOptions,
    *,
    store: Store,
    session: RaySession,
    console: Console,
) -> Result:
    """Annotate a library as it was ordered."""
    from cluster.annotation.annotate import annotate as run
    from cluster.annotation.metrics import serve_measured
    from cluster.annotation.resources import plan_pool
    from cluster.runs.limits import RunLimits
    from cluster.runtime.session import token_place
    from teacher.llm.models import TINY

    if order.spec.model.name == TINY:
        console.print("The tiny model knows what RDKit taught it: good to try the system, no source of new chemistry.")
    settings = _engine_settings(engine, images=order.spec.image_size is not None)
    pool = plan_pool(session, order.weights, settings, workers=engine.workers, wait_for_gpus=engine.wait_for_gpus)
    if session.dashboard:
        token = f" (asks for the token in {place})" if (place := token_place()) else ""
        console.print(f"Ray dashboard: {session.dashboard}{token}", highlight=False, markup=False)
    limits = RunLimits(
        max_dead=engine.max_dead, max_error_rate=engine.max_error_rate, stall_minutes=engine.stall_minutes
    )
    with live_line(console) as show:
        return run(
            sources,
            limit=limit,
            spec=order.spec,
            prompt=order.prompt,
            store=store,
            session=session,
            engine=functools.partial(serve_measured, order.spec.model, order.weights, settings),
            pool=pool,
            max_attempts=engine.max_attempts,
            request_seconds=engine.request_minutes * 60,
            limits=limits,
            warn=lambda sentence: console.print(plain(sentence), markup=False, highlight=False),
            show=show,
        )


def stop_if_interrupted(result: Result) -> None:
    """Exit where the user stopped the run."""
    if result.interrupted:
        sys.stderr.write("Stopped. What is in the ledger is kept; the same command resumes.\n")
        raise typer.Exit(INTERRUPTED)


def _spec(options: SpecOptions) -> tuple[Spec, Prompt]:
    """Make the spec that the options describe.

    Raises:
        UsageError: the options contradict one another, or name what does not exist.
    """
    from pydantic import ValidationError

    from teacher.llm.models import TINY, identify
    from teacher.llm.prompt import load
    from teacher.llm.spec import Model, PromptRef, Sampling, Spec

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


def _engine_settings(options: EngineOptions, *, images: bool) -> EngineSettings:
    from cluster.annotation.resources import cpu_threads, default_concurrency
    from teacher.llm.engine import EngineSettings

    return EngineSettings(
        max_model_len=options.max_model_len,
        max_num_seqs=options.concurrency or default_concurrency(),
        gpu_memory_utilization=options.gpu_memory,
        kv_cache_bytes=round(options.kv_cache_gib * 2**30),
        cpu_threads=cpu_threads(options.workers or 1),
        tensor_parallel_size=options.tensor_parallel,
        pipeline_parallel_size=options.pipeline_parallel,
        images=images,
        load_format=options.load_format,
        trust_remote_code=options.trust_remote_code,
    )
