"""Annotation by a provider's batch API: files of requests go out, and files of answers come back."""

from __future__ import annotations

from contextlib import ExitStack

from cluster.records.batch import read_batch as read_asked
from cluster.records.batch_reader import BatchReading, read_results
from cluster.records.batch_writer import BatchRules, WrittenBatch
from cluster.records.batch_writer import write_batch as write_requests
from cluster.store.open import has_store, open_store
from gallon.api.library import Library, StrPath, listed, refuse_row_columns, sources_of, store_named
from gallon.api.spec import resolve_spec
from gallon.config import BatchConfig, LibraryConfig, SpecConfig
from gallon.progress import ProgressCallback, phase
from teacher.errors import UsageError
from teacher.files import placed
from teacher.llm.engines.batch_lines import TOKEN_FIELDS


def write_batch(
    library: Library,
    out: StrPath,
    *,
    reading: LibraryConfig,
    spec: SpecConfig,
    batch: BatchConfig,
    overwrite: bool = False,
    store: StrPath | None = None,
    progress: ProgressCallback | None = None,
) -> WrittenBatch:
    """Write a request in OpenAI's batch format for every molecule of a library that has no record yet.

    The same call after the answers were read writes what is left: molecules without an answer, and those whose answer
    was rejected, as a run would ask them again. The spec is that of a server that has the model (`endpoint`), so that
    both share their records.

    Args:
        library: as for `annotate`.
        out: the first file of requests (.jsonl); further ones have a number in their name, and what `read_batch` needs
            to know is kept beside it (.gallon-batch).
        reading: how the library is read.
        spec: what decides an annotation; `model` is the provider's name for it.
        batch: what goes into the files.
        overwrite: whether files that are there may be replaced.
        store: that the answers will go to; what it has is not asked again. One that is not there yet is taken to be
            empty.
        progress: called as requests are written.

    Raises:
        UsageError: settings contradict one another, or a file cannot be written.
        LibraryError: a file of the library cannot be read.
    """
    if spec.endpoint is not None:
        raise UsageError("A batch goes to whoever is given its files: leave out --endpoint.")
    if batch.token_field not in TOKEN_FIELDS:
        raise UsageError(f"--token-field is {' or '.join(TOKEN_FIELDS)}, and not '{batch.token_field}'.")
    sources, resolved, where = sources_of(library, reading), resolve_spec(spec, claimed=True), store_named(store)
    refuse_row_columns(resolved)
    with ExitStack() as stack:
        opened = stack.enter_context(open_store(where, create=False)) if has_store(where) else None
        running = stack.enter_context(phase(progress, "writing requests", "requests"))
        return write_requests(
            sources,
            placed(out),
            limit=reading.limit,
            spec=resolved.spec,
            prompt=resolved.prompt,
            store=opened,
            rules=BatchRules(
                max_requests=batch.max_requests,
                max_bytes=batch.max_bytes,
                max_attempts=batch.max_attempts,
                everything=batch.everything,
                token_field=batch.token_field,
            ),
            overwrite=overwrite,
            show=running.update,
        )


def read_batch(
    results: Library, requests: StrPath, *, store: StrPath | None = None, progress: ProgressCallback | None = None
) -> BatchReading:
    """Store the answers to a batch, checked as those of an engine are; reading them again changes nothing.

    Answers that are rejected, and errors, become dead letters, until a later answer is accepted.

    Args:
        results: one file that the provider returned, or several: of answers, and of errors.
        requests: the first file that `write_batch` wrote, or what is kept beside it.
        store: a Redis URL, or the folder of an embedded Redis; by default that in GALLON_STORE, or ~/.gallon/store.
        progress: called as lines are read.

    Raises:
        UsageError: nothing is kept beside the requests.
        LibraryError: a file cannot be read, or has nothing to do with these requests.
    """
    asked = read_asked(placed(requests))
    paths = [placed(path) for path in listed(results)]
    with open_store(store_named(store)) as opened, phase(progress, "reading answers", "lines") as running:
        return read_results(opened, asked, paths, running.update)
