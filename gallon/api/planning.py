"""What a run would do, before it costs anything; and, after a probe, what it will cost."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from cluster.annotation.annotate import refuse_other_threads
from cluster.annotation.pool import Pool
from cluster.library.molecules import unique_entries
from cluster.library.sample import sample_rows
from cluster.library.source import Source
from cluster.records.completeness import CompletenessReport
from cluster.records.completeness import verify as recount
from cluster.store.open import has_store, open_store
from cluster.store.record import DeadLetter, Record
from cluster.store.store import Store
from gallon.api.annotation import annotate_sources, annotation_session, checked_output, engines_for
from gallon.api.library import Library, StrPath, kept_of, refuse_row_columns, sources_of, store_named, with_row_columns
from gallon.api.prompts import rendered
from gallon.api.spec import ResolvedSpec, resolve_spec
from gallon.config import EngineConfig, KeepConfig, LibraryConfig, SpecConfig
from gallon.progress import ProgressCallback, phase
from teacher.chemistry.molecule import InvalidMoleculeError
from teacher.chemistry.parsing import shared_parser
from teacher.errors import UsageError
from teacher.llm.request import build_request
from teacher.llm.row_columns import unpack_cells
from teacher.llm.spec import Spec

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE = 64  # molecules whose prompts are rendered
SAMPLED_FROM = 1_000  # molecules at the beginning of a library
MOST_DRAWN = 50_000  # rows that are parsed to find those of a probe


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What one annotator did with some molecules of the library, and what the rest will take at its pace.

    Attributes:
        run: the id of the run that annotated them; their records are stored.
        accepted, dead: what became of them.
        start_seconds: from the run's start until its engine was asked first: Ray, weights, compilation.
        molecules_per_second: of the annotator, from then on; None where not one answer was accepted.
        concurrency: molecules that an engine computes at a time: fewer do not show its pace, so that the estimate is
            too high.
        annotators: that the whole run will have, each with `gpus` GPUs.
        rest: molecules that are left to it.
        price_per_hour: of a GPU, or of an annotator that has none.
    """

    run: str
    accepted: int
    dead: int
    start_seconds: float
    molecules_per_second: float | None
    concurrency: int
    annotators: int
    gpus: float
    rest: int
    price_per_hour: float | None

    @property
    def hours(self) -> float | None:
        """Hours that the rest will take, the start of the engines included."""
        if not self.molecules_per_second:
            return None
        return (self.start_seconds + self.rest / (self.molecules_per_second * self.annotators)) / 3600

    @property
    def gpu_hours(self) -> float | None:
        """GPU-hours that the rest will take; 0 without GPUs."""
        return None if self.hours is None else self.hours * self.annotators * self.gpus

    @property
    def cost(self) -> float | None:
        """What the rest will cost, in the currency of the price."""
        if self.hours is None or self.price_per_hour is None:
            return None
        return self.hours * self.annotators * (self.gpus or 1.0) * self.price_per_hour


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """What a run would do.

    Attributes:
        spec: the id of the spec that it would write under.
        report: the library against the store; `report.missing` molecules are to be annotated.
        prompt_tokens: mean length of the prompts of a sample; None for a server, whose template is not known here.
        longest_prompt: of the sample.
        max_tokens: the longest answer of a first attempt, thoughts included.
        context: tokens that the model takes, prompt and answer together.
        probe: what a probe has measured; None without one, and where there is nothing to annotate.
    """

    spec: str
    report: CompletenessReport
    prompt_tokens: float | None
    longest_prompt: int | None
    max_tokens: int
    context: int | None
    probe: Probe | None = None

    @property
    def total_prompt_tokens(self) -> int | None:
        """Prompt tokens of all molecules that are to be annotated, from the mean of the sample."""
        return None if self.prompt_tokens is None else round(self.prompt_tokens * self.report.missing)


def plan_run(
    library: Library,
    *,
    reading: LibraryConfig,
    spec: SpecConfig,
    engine: EngineConfig,
    probe: int | None = None,
    price_per_hour: float | None = None,
    out: StrPath | None = None,
    overwrite: bool = False,
    keeping: KeepConfig,
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> RunPlan:
    """Count what a run would do: the whole library is read and parsed, nothing is started or written.

    With a probe, one annotator starts and annotates some molecules from all over the library. Their records are stored,
    so that the run need not make them again.

    Args:
        library: as for `annotate`.
        reading: likewise.
        spec: likewise.
        engine: likewise.
        probe: molecules to annotate.
        price_per_hour: of one GPU, or of an annotator where there are none.
        out: as for `annotate`: the file is checked, and not written.
        overwrite: likewise.
        keeping: likewise.
        store: likewise; one that is not there yet is taken to be empty.
        progress: called as phases begin and end.

    Raises:
        UsageError: settings contradict one another, or name what does not exist.
        LibraryError: a file cannot be read.
        GallonError: what ended the probe.
    """
    if price_per_hour is not None and not probe:
        raise UsageError("What a run costs is known only after a probe: give --probe too.")
    if probe:
        refuse_other_threads()
    resolved, where = resolve_spec(spec, engine=engine), store_named(store)
    if probe:
        refuse_row_columns(resolved)
    sources = with_row_columns(sources_of(library, reading), resolved)
    if path := checked_output(out, sources, keeping, overwrite=overwrite):
        kept_of(sources, keeping, path, reading.limit)
    with phase(progress, "counting", ""):
        report = _recounted(sources, reading.limit, resolved.spec.id, where)
    lengths: list[int] = []
    context = None
    if resolved.endpoint is None:
        with phase(progress, "rendering prompts", ""):
            lengths, context = _lengths(sources, reading.limit, resolved, engine)
    probed = None
    if probe and report.missing:
        with annotation_session(store, engine, progress) as (opened, session):
            rows = _rows_to_probe(sources, reading.limit, report=report, number=probe, store=opened, spec=resolved.spec)
            run = annotate_sources(
                sources, None, resolved, engine, store=opened, session=session, progress=progress, sample=rows.table
            )
            if run.interrupted:
                raise KeyboardInterrupt
            _, pool = engines_for(resolved, engine, session)
            outcomes = _outcomes(opened, resolved.spec.id, run.run, rows.keys)
            started = float(opened.facts(run.run)["started"])
        probed = _measured(run.run, started, outcomes, missing=report.missing, pool=pool, price=price_per_hour)
    thinking = resolved.spec.thinking
    assert resolved.spec.sampling is not None, "only specs of imported annotations have none"
    return RunPlan(
        spec=resolved.spec.id,
        report=report,
        prompt_tokens=sum(lengths) / len(lengths) if lengths else None,
        longest_prompt=max(lengths, default=None),
        max_tokens=resolved.spec.sampling.max_tokens + (thinking.room if thinking else 0),
        context=context,
        probe=probed,
    )


def _recounted(sources: Sequence[Source], limit: int | None, spec_id: str, store: str) -> CompletenessReport:
    if not has_store(store):
        return recount(sources, limit=limit, spec_id=spec_id, store=None)
    with open_store(store, create=False) as opened:
        return recount(sources, limit=limit, spec_id=spec_id, store=opened)


def _lengths(
    sources: Sequence[Source], limit: int | None, resolved: ResolvedSpec, engine: EngineConfig
) -> tuple[list[int], int | None]:
    """Return how long the prompts of some molecules are, spread over the beginning of the library, and the context."""
    some = list(islice(unique_entries(sources, limit), SAMPLED_FROM))
    sample = some[:: max(1, len(some) // SAMPLE)][:SAMPLE]
    requests = [
        build_request(
            entry.molecule.smiles, entry.key, resolved.spec, resolved.prompt, columns=unpack_cells(entry.columns)
        )[0]
        for entry in sample
    ]
    found = rendered(requests, resolved, engine)
    return [each.tokens for each in found], found[0].context if found else None


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a library, and the keys of their molecules."""

    table: pa.Table
    keys: list[bytes]


def _rows_to_probe(
    sources: Sequence[Source], limit: int | None, *, report: CompletenessReport, number: int, store: Store, spec: Spec
) -> _Rows:
    """Draw rows whose molecules are still to be annotated, by the seed of the sampling."""
    assert spec.sampling is not None, "only specs of imported annotations have none"
    seed = spec.sampling.seed
    enough = max(4 * number, math.ceil(2 * number * report.rows / report.missing))
    drawn = sample_rows(sources, limit, report.rows, min(enough, MOST_DRAWN), seed)
    columns = zip(drawn["raw"].to_pylist(), drawn["notation"].to_pylist(), strict=True)
    places: dict[bytes, int] = {}
    for place, molecule in enumerate(shared_parser().parse(list(columns))):
        if not isinstance(molecule, InvalidMoleculeError):
            places.setdefault(molecule.key, place)
    states = store.state_of(spec.id, list(places))
    left = [key for key, state in zip(places, states, strict=True) if state not in {"accepted", "dead"}]
    keys = random.Random(seed).sample(left, min(number, len(left)))
    if not keys:
        raise UsageError("So little of the library is left that no probe was found: run it without --dry-run.")
    return _Rows(drawn.take(sorted(places[key] for key in keys)), keys)


def _outcomes(store: Store, spec_id: str, run: str, keys: list[bytes]) -> list[Record | DeadLetter]:
    """Return what a run has stored about molecules."""
    found: list[Record | DeadLetter | None] = [*store.fetch(spec_id, keys), *store.fetch_letters(spec_id, keys)]
    return [outcome for outcome in found if outcome is not None and outcome.run == run]


def _measured(
    run: str, started: float, outcomes: Sequence[Record | DeadLetter], *, missing: int, pool: Pool, price: float | None
) -> Probe:
    """Find out from what was stored how fast an annotator was."""
    records = [outcome for outcome in outcomes if isinstance(outcome, Record)]
    asked = min((record.time - record.seconds for record in records), default=started)
    seconds = max((outcome.time for outcome in outcomes), default=asked) - asked
    return Probe(
        run=run,
        accepted=len(records),
        dead=len(outcomes) - len(records),
        start_seconds=round(max(0.0, asked - started), 3),
        molecules_per_second=len(outcomes) / max(seconds, 1e-3) if records else None,
        concurrency=pool.concurrency,
        annotators=pool.workers,
        gpus=pool.gpus,
        rest=missing - len(outcomes),
        price_per_hour=price,
    )
