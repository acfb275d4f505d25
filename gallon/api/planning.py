"""What a run would do, before it costs anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from cluster.library.molecules import unique_entries
from cluster.library.source import Source
from cluster.records.completeness import CompletenessReport
from cluster.records.completeness import verify as recount
from cluster.store.open import has_store, open_store
from gallon.api.library import Library, StrPath, sources_of, store_named, with_row_columns
from gallon.api.progress import ProgressCallback, phase
from gallon.api.prompts import rendered
from gallon.api.spec import ResolvedSpec, resolve_spec
from gallon.config import EngineConfig, LibraryConfig, SpecConfig
from teacher.llm.request import build_request
from teacher.llm.row_columns import unpack_cells

SAMPLE = 64  # molecules whose prompts are rendered
SAMPLED_FROM = 1_000  # molecules at the beginning of a library


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """What a run would do.

    Attributes:
        spec: the id of the spec that it would write under.
        report: the library against the store; `report.missing` molecules are to be annotated.
        prompt_tokens: mean length of the prompts of a sample; None for a server, whose template is not known here.
        longest_prompt: of the sample.
        max_tokens: the longest answer of a first attempt.
        context: tokens that the model takes, prompt and answer together.
    """

    spec: str
    report: CompletenessReport
    prompt_tokens: float | None
    longest_prompt: int | None
    max_tokens: int
    context: int | None

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
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> RunPlan:
    """Count what a run would do: the whole library is read and parsed, nothing is started or written.

    Args:
        library: as for `annotate`.
        reading: likewise.
        spec: likewise.
        engine: likewise.
        store: likewise; one that is not there yet is taken to be empty.
        progress: called as phases begin and end.

    Raises:
        UsageError: settings contradict one another, or name what does not exist.
        LibraryError: a file cannot be read.
    """
    resolved, where = resolve_spec(spec), store_named(store)
    sources = with_row_columns(sources_of(library, reading), resolved)
    with phase(progress, "counting", ""):
        report = _recounted(sources, reading.limit, resolved.spec.id, where)
    lengths: list[int] = []
    context = None
    if resolved.endpoint is None:
        with phase(progress, "rendering prompts", ""):
            lengths, context = _lengths(sources, reading.limit, resolved, engine)
    assert resolved.spec.sampling is not None, "only specs of imported annotations have none"
    return RunPlan(
        spec=resolved.spec.id,
        report=report,
        prompt_tokens=sum(lengths) / len(lengths) if lengths else None,
        longest_prompt=max(lengths, default=None),
        max_tokens=resolved.spec.sampling.max_tokens,
        context=context,
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
        build_request(entry.molecule.smiles, entry.key, resolved.spec, resolved.prompt, unpack_cells(entry.columns))[0]
        for entry in sample
    ]
    found = rendered(requests, resolved, engine)
    return [each.tokens for each in found], found[0].context if found else None
