"""Annotate libraries, and recount them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.annotation.annotate import Result, refuse_other_threads
from cluster.annotation.annotate import annotate as run_annotation
from cluster.annotation.job import EngineFactory
from cluster.annotation.metrics import ask_endpoint, serve_measured
from cluster.annotation.pool import Pool
from cluster.annotation.resources import (
    ENDPOINT_CONCURRENCY,
    check_reachable,
    cpu_threads,
    default_concurrency,
    default_renderers,
    plan_clients,
    plan_pool,
)
from cluster.library.cells import with_columns
from cluster.library.molecules import unique_entries
from cluster.library.source import Source
from cluster.records.annotated_rows import write_annotated
from cluster.records.completeness import CompletenessReport
from cluster.records.completeness import verify as recount
from cluster.records.integrity import audit
from cluster.runs.limits import RunLimits
from cluster.runs.progress import Progress as RunProgress
from cluster.runtime.private import private_folder
from cluster.runtime.session import RaySession, in_session, ray_session, token_place
from cluster.store.open import choose_spec, known_spec, open_store
from cluster.store.record import Ledger, Record
from cluster.store.store import Store
from gallon.api.library import (
    Library,
    StrPath,
    check_rows_output,
    kept_of,
    refuse_row_columns,
    sources_of,
    store_named,
    with_row_columns,
)
from gallon.api.spec import ResolvedSpec, endpoint_settings, engine_settings, resolve_spec
from gallon.config import EngineConfig, KeepConfig, LibraryConfig, ServingConfig, SpecConfig
from gallon.progress import Phase, ProgressCallback, phase
from teacher.errors import UsageError
from teacher.files import placed
from teacher.llm.describer import Describer, Description
from teacher.llm.engine import Engine
from teacher.llm.engines.endpoint import EndpointEngine
from teacher.llm.engines.vllm_engine import VllmEngine
from teacher.llm.models import TINY
from teacher.llm.spec import Spec
from teacher.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

EXAMPLES = 3
EXAMPLES_AMONG = 100  # molecules at the beginning of a library


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotationResult:
    """What a run came to.

    Attributes:
        run: its id.
        spec: the id of the spec that it wrote under.
        ledger: the counts of the library's rows and molecules.
        interrupted: whether it was stopped before its end; the same call resumes.
        examples: the first few records of the library.
        path: the file with the library's rows and their annotations, if one was written.
    """

    run: str
    spec: str
    ledger: Ledger
    interrupted: bool
    examples: tuple[Record, ...]
    path: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationResult:
    """Whether every molecule of a library has a record or a dead letter.

    Attributes:
        spec: the id of the spec.
        settings: the spec itself.
        report: the recount.
        defects: records that break their schema or contradict their spec; None where nobody looked.
    """

    spec: str
    settings: Spec
    report: CompletenessReport
    defects: tuple[str, ...] | None

    @property
    def ok(self) -> bool:
        """Whether nothing is missing and nothing is wrong."""
        return self.report.ok and not self.defects


def annotate(
    library: Library,
    *,
    reading: LibraryConfig,
    spec: SpecConfig,
    engine: EngineConfig,
    out: StrPath | None = None,
    overwrite: bool = False,
    keeping: KeepConfig,
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> AnnotationResult:
    """Describe every molecule of a library once; the same call again resumes.

    Molecules that have a record under the same spec are not described again. An interrupt (Ctrl-C) ends the run in good
    order and returns what it came to; `out` is not written then. To be called in the main thread.

    Args:
        library: paths, globs or URLs of files with molecules.
        reading: how the files are read.
        spec: what decides an annotation.
        engine: how the run is carried out.
        out: a .csv, .tsv, .parquet or .jsonl file, or .sdf if the library is one: one row for each row of the library,
            in order, with its columns and its annotation, or the reason why it has none.
        overwrite: whether a file that is there may be replaced.
        keeping: which columns of the library are written into `out`, too.
        store: a Redis URL, or the folder of an embedded Redis; by default that in GALLON_STORE, or ~/.gallon/store.
        progress: called about once a second.

    Raises:
        UsageError: settings are wrong, or this is not the main thread.
        GallonError: what ended the run, in one sentence.
    """
    refuse_other_threads()
    resolved = resolve_spec(spec, engine=engine)
    sources = with_row_columns(sources_of(library, reading), resolved)
    path = checked_output(out, sources, keeping, overwrite=overwrite)
    kept = kept_of(sources, keeping, path, reading.limit) if path else None
    with annotation_session(store, engine, progress) as (opened, session):
        result = annotate_sources(
            sources, reading.limit, resolved, engine, store=opened, session=session, progress=progress
        )
        examples = first_records(opened, resolved.spec.id, sources, reading.limit)
        if path and kept and not result.interrupted:
            with phase(progress, "writing", "rows") as running:
                limit, show = reading.limit, running.update
                write_annotated(opened, resolved.spec, sources, kept, path, limit=limit, show=show)
    return AnnotationResult(
        run=result.run,
        spec=resolved.spec.id,
        ledger=result.ledger,
        interrupted=result.interrupted,
        examples=tuple(examples),
        path=None if result.interrupted else path,
    )


def checked_output(
    out: StrPath | None, sources: Sequence[Source], keeping: KeepConfig, *, overwrite: bool
) -> Path | None:
    """Return the file that a run's rows go into, if they go into one.

    Raises:
        UsageError: it cannot, or must not, be written; or something is said of a file that is not asked for.
    """
    if out is None:
        if overwrite or keeping != KeepConfig():
            raise UsageError("--overwrite, --keep-columns and --id-column belong to --out: name it, or leave them out.")
        return None
    path = placed(out)
    check_rows_output(path, sources, overwrite=overwrite)
    return path


def describe(
    molecules: str | Iterable[str],
    *,
    spec: SpecConfig,
    engine: EngineConfig,
    progress: ProgressCallback | None = None,
) -> list[Description]:
    """Describe one or a few molecules, now, without a store or Ray; `Describer` keeps its engine for more calls.

    Args:
        molecules: SMILES.
        spec: what decides a description.
        engine: how the engine runs, and how many attempts a molecule has.
        progress: called as answers come.

    Returns:
        One description for each molecule, in order; one that cannot be described carries the error.

    Raises:
        UsageError: the settings contradict one another, or name what does not exist.
        EngineStartError: vLLM could not start.
    """
    texts = [molecules] if isinstance(molecules, str) else list(molecules)
    if not texts:
        return []
    with describer(spec=spec, engine=engine) as opened, phase(progress, "describing", "molecules") as running:
        return opened.describe(texts, lambda done: running.update(done, len(texts)))


def describer(*, spec: SpecConfig, engine: EngineConfig) -> Describer:
    """Start an engine that describes molecules until it is closed; to be used in a `with` statement.

    Raises:
        UsageError: the settings contradict one another, or name what does not exist.
        EngineStartError: vLLM could not start.
    """
    resolved = resolve_spec(spec, engine=engine)
    refuse_row_columns(resolved)
    return Describer(start_engine(resolved, engine), resolved.spec, resolved.prompt, engine.max_attempts)


def start_engine(resolved: ResolvedSpec, config: EngineConfig) -> Engine:
    """Start an engine in this process, or connect to a server."""
    if resolved.endpoint is not None:
        return EndpointEngine(endpoint_settings(config, resolved, concurrency=ENDPOINT_CONCURRENCY))
    settings = engine_settings(config, resolved, cpu_threads=cpu_threads(1), concurrency=default_concurrency())
    return VllmEngine(resolved.spec.model, resolved.weights, settings, private_folder() / "describe-vllm.log")


def verify(
    library: Library,
    *,
    reading: LibraryConfig,
    spec: SpecConfig,
    spec_id: str | None = None,
    deep: bool = False,
    store: StrPath | None = None,
) -> VerificationResult:
    """Recount a library against the store: does every molecule have a record or a dead letter?

    Args:
        library: as it was annotated.
        reading: how the files are read.
        spec: the settings that the library was annotated with.
        spec_id: the spec's id, or its beginning, in their place.
        deep: also look through every record of the spec.
        store: a Redis URL, or the folder of an embedded Redis; by default that in GALLON_STORE, or ~/.gallon/store.

    Raises:
        UsageError: there is no such store, or nothing in it was annotated under the spec; or settings are named, too.
    """
    if spec_id and spec != SpecConfig():
        raise UsageError("--spec stands for all settings of an annotation: leave out it, or the others.")
    sources = sources_of(library, reading)
    with open_store(store_named(store), create=False) as opened:
        chosen = choose_spec(opened, spec_id) if spec_id else known_spec(opened, resolve_spec(spec).spec)
        sources = with_columns(sources, chosen.columns)
        report = recount(sources, limit=reading.limit, spec_id=chosen.id, store=opened)
        defects = tuple(str(defect) for defect in audit(opened, chosen.id)) if deep else None
    return VerificationResult(spec=chosen.id, settings=chosen, report=report, defects=defects)


@contextmanager
def session(ray: str | None = None) -> Iterator[RaySession]:
    """Keep one Ray cluster for all calls inside, rather than start one for each.

    Args:
        ray: address of the cluster; by default RAY_ADDRESS, or a local one.

    Raises:
        UsageError: the address is none that a cluster can be joined by.
        GallonError: no cluster answers there, or none can be started here.
    """
    with ray_session(ray) as opened:
        yield opened


@contextmanager
def annotation_session(
    store: StrPath | None, engine: ServingConfig, progress: ProgressCallback | None
) -> Iterator[tuple[Store, RaySession]]:
    """Open the store and connect to Ray; every node must reach the store."""
    with open_store(store_named(store)) as opened:
        opened.check_policy()
        with started_ray(engine.ray, progress) as session:
            check_reachable(opened, session)
            yield opened, session


@contextmanager
def started_ray(address: str | None, progress: ProgressCallback | None) -> Iterator[RaySession]:
    """Connect to Ray, or start it, as a phase of its own, since it takes seconds."""
    with ExitStack() as stack:
        with nullcontext() if in_session() else phase(progress, "starting Ray", ""):
            session = stack.enter_context(ray_session(address))
        yield session


def annotate_sources(
    sources: Sequence[Source],
    limit: int | None,
    resolved: ResolvedSpec,
    engine: EngineConfig,
    *,
    store: Store,
    session: RaySession,
    progress: ProgressCallback | None,
    sample: pa.Table | None = None,
) -> Result:
    """Annotate the files of a library in a session; a sample of its rows by one annotator, as one of a whole run's."""
    if resolved.spec.model.name == TINY:
        logger.info(
            "The tiny model repeats what it learned from RDKit: use it to try the system, not to learn chemistry."
        )
    factory, pool = engines_for(resolved, engine, session)
    if sample is not None:
        pool = replace(pool, workers=1)
    if session.dashboard:
        token = f" (asks for the token in {place})" if (place := token_place()) else ""
        logger.info("Ray dashboard: %s%s", session.dashboard, token)
    limits = RunLimits(
        max_dead=engine.max_dead, max_error_rate=engine.max_error_rate, stall_minutes=engine.stall_minutes
    )
    with phase(progress, "annotation", "molecules") as running:
        return run_annotation(
            sources,
            limit=limit,
            sample=sample,
            spec=resolved.spec,
            prompt=resolved.prompt,
            store=store,
            session=session,
            engine=factory,
            pool=pool,
            max_attempts=engine.max_attempts,
            request_seconds=engine.request_minutes * 60,
            limits=limits,
            warn=logger.warning,
            show=functools.partial(_tell, running),
        )


def engines_for(resolved: ResolvedSpec, engine: ServingConfig, session: RaySession) -> tuple[EngineFactory, Pool]:
    """Return what starts an engine, or asks a server, in an annotator, and how many annotators there are."""
    if resolved.endpoint is not None:
        client = endpoint_settings(engine, resolved, concurrency=ENDPOINT_CONCURRENCY)
        pool = plan_clients(session, workers=engine.workers, concurrency=client.concurrency)
        return functools.partial(ask_endpoint, client), pool
    settings = engine_settings(
        engine,
        resolved,
        cpu_threads=cpu_threads(engine.workers or 1),
        concurrency=default_concurrency(),
        renderers=default_renderers(session, gpus=engine.tensor_parallel * engine.pipeline_parallel),
    )
    pool = plan_pool(session, resolved.weights, settings, workers=engine.workers, wait_for_gpus=engine.wait_for_gpus)
    return functools.partial(serve_measured, resolved.spec.model, resolved.weights, settings), pool


def _tell(running: Phase, progress: RunProgress) -> None:
    done = progress.accepted + progress.dead
    if not done:
        read, to_do = counted(progress.rows, "row"), counted(progress.todo, "molecule")
        running.update(0, detail=f"{read} read, {to_do} to annotate; starting the engine")
        return
    running.update(
        done,
        detail=f"{progress.dead:,} dead, {progress.token_rate:,.0f} tokens/s",
        rate=progress.rate,
        seconds_left=progress.eta_seconds,
    )


def first_records(store: Store, spec_id: str, sources: Sequence[Source], limit: int | None) -> list[Record]:
    """Return the first few records about the beginning of a library."""
    entries = islice(unique_entries(sources, limit), EXAMPLES_AMONG)
    records = store.fetch(spec_id, [entry.key for entry in entries])
    return [record for record in records if record is not None][:EXAMPLES]
