"""`gallon report`: one run of the annotation as one HTML page, which needs no other file and no network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.records.dead_letters import dead_letters
from cluster.store.open import choose_spec
from cluster.store.store import Store
from cluster.store.stored import ledger_of
from distill.report.dead_letters import reasons
from distill.report.gallery import gallery
from distill.report.html import data, environment, script
from distill.report.statistics import RunStatistics
from distill.report.training_section import training_section
from teacher.errors import UsageError
from teacher.files import write_text

if TYPE_CHECKING:
    from teacher.llm.spec import Spec

TEMPLATE = "run.html.j2"


@dataclass(frozen=True, kw_only=True)
class Written:
    """A page: where it is, which run and spec it is about, how many records it counts and shows, and its size."""

    path: Path
    run: str
    spec: str
    records: int
    shown: int
    bytes: int


def choose_run(store: Store, run: str | None) -> tuple[str, dict[str, Any]]:
    """Return the id and the facts of the run that a user means: by the beginning of its id, or the latest.

    Raises:
        UsageError: there is none, or more than one.
    """
    runs = store.runs()
    fitting = [known for known in runs if known.startswith(run or "")]
    if not runs:
        raise UsageError("The store knows no run: run 'gallon annotate' first, or name another store with --store.")
    if not fitting or (run and len(fitting) > 1):
        what = f"'{run}' is the beginning of several runs" if fitting else f"There is no run '{run}'"
        raise UsageError(f"{what}: choose one out of {', '.join(fitting or list(runs)[-5:])}.")
    return fitting[-1], runs[fitting[-1]]


def write(
    store: Store,
    run: str | None,
    out: Path | None,
    *,
    most: int,
    folders: Sequence[Path] = (),
    show: Callable[[int], None] | None = None,
) -> Written:
    """Write the page of a run: ledger, pace, agreement with RDKit, dead letters, a gallery, and what was learnt.

    The records are all those of the run's spec, whichever run made them, since a run that resumes another makes only
    what that one had left.

    Args:
        store: where the run's records are.
        run: the beginning of its id; None means the latest.
        out: the page, which is replaced if it is there; None names it by the run.
        most: records in the gallery. Molecules come in the order of their keys, which are hashes: the first of them
            are a random sample.
        folders: of models and comparisons to show as well.
        show: called with the number of records laid out so far.

    Raises:
        UsageError: there is no such run, or its spec, or a folder holds nothing to show.
        OutputError: the page cannot be written.
        StoreError: Redis failed.
    """
    run, facts = choose_run(store, run)
    spec = choose_spec(store, facts["spec"])
    shown_too = [training_section(folder) for folder in folders]
    prompt = store.prompt(spec)
    statistics = RunStatistics(run, facts)
    records = statistics.counting(store.records(spec.id))
    structured = prompt is not None and prompt.json_schema is not None
    packed = gallery(islice(records, most), run, structured=structured, show=show)
    for _ in records:
        pass  # counted, not shown
    out = out or Path(f"gallon-report-{run}.html")
    code, allowed = script("gallery.js")
    made_of = {
        "spec": _spec_facts(spec),
        "software": {each: store.software(each) for each in sorted(statistics.software)},
        **packed.index(),
    }
    page = (
        environment()
        .get_template(TEMPLATE)
        .render(
            run=run,
            facts=facts,
            ledger=_ledger(store, run, facts),
            dead_molecules=store.counts(spec.id).dead,
            spec=made_of["spec"],
            statistics=statistics,
            reasons=reasons(dead_letters(store, spec, run)),
            groups=packed.groups.most_common(),
            pieces=packed.pieces,
            shown=len(packed),
            index=data(made_of),
            learned=shown_too,
            written=datetime.now(UTC).isoformat(timespec="seconds"),
            version=version("gallon"),
            when=_when,
            script=code,
            allowed=allowed,
        )
    )
    write_text(out, page)
    return Written(
        path=out, run=run, spec=spec.id, records=statistics.records, shown=len(packed), bytes=out.stat().st_size
    )


def _ledger(store: Store, run: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the ledger that the run ended with, or how it stands while it has not ended."""
    if "ledger" in facts:
        return asdict(ledger_of(facts))
    seconds = round(facts.get("finished", time.time()) - facts["started"], 3)
    return asdict(store.ledger(facts["spec"], run, len(facts["sources"]), seconds))


def _spec_facts(spec: Spec) -> dict[str, Any]:
    """Return what decides the spec's annotations, in words for people."""
    shown = {
        "SMILES": spec.smiles,
        f"drawing of {spec.image_size} px": spec.image_size,
        "graph": spec.graph,
        "facts": spec.facts,
        **{f"column {name}": True for name in spec.columns},
    }
    sampling = spec.sampling.model_dump() if spec.sampling else {}
    facts = {
        "spec": spec.id,
        "model": spec.model.name,
        "revision": spec.model.revision,
        "dtype": spec.model.dtype,
        "quantization": spec.model.quantization,
        "prompt": f"{spec.prompt.name} v{spec.prompt.version} ({spec.prompt.digest[:12]})",
        "task": spec.task,
        "shown to the model": ", ".join(name for name, given in shown.items() if given),
        "sampling": ", ".join(f"{name} {value}" for name, value in sampling.items()) or "unknown",
        "held to the schema": "yes" if spec.structured else "no",
    }
    return {name: value for name, value in facts.items() if value is not None}


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
