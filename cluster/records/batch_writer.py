"""A library as files of requests for a provider's batch API."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from cluster.library.molecules import unique_molecules
from cluster.library.source import Source
from cluster.records.batch import Asked, batch_path, entry, files_of, foot, head
from cluster.store.store import Store
from teacher.chemistry.drawing import DRAWN_AT_A_TIME, SafeDrawer, UndrawableError
from teacher.chemistry.molecule import Molecule
from teacher.errors import UsageError
from teacher.files import check_output, replacing
from teacher.llm.engines.batch_lines import MOST_BYTES, MOST_REQUESTS, TOKEN_FIELDS, request_line
from teacher.llm.prompt import Prompt
from teacher.llm.request import build_request, retried
from teacher.llm.spec import Spec
from teacher.wording import counted

logger = logging.getLogger(__name__)

LOOKED_UP = 1_000  # molecules at a time
AHEAD = 2  # parts for each core that are drawn, or wait to be written


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchRules:
    """What goes into a batch.

    Attributes:
        max_requests, max_bytes: of one file.
        max_attempts: answers about a molecule that may be rejected before it is asked about no more.
        everything: whether molecules are asked about that have a record, or are to be asked about no more.
        token_field: by which name the model knows the longest answer, one of `TOKEN_FIELDS`.
    """

    max_requests: int = MOST_REQUESTS
    max_bytes: int = MOST_BYTES
    max_attempts: int = 3
    everything: bool = False
    token_field: str = TOKEN_FIELDS[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenBatch:
    """What was written.

    Attributes:
        spec: the id of the spec that the answers will be stored under.
        rows, molecules, duplicates, invalid: of the library, as its ledger would have them; `rows` is the sum of the
            others.
        requests: that were written; `retries` of them ask again what was rejected or failed before.
        accepted, dead: molecules that were left out, since they have a record, or a dead letter for good.
        undrawn: molecules that cannot be drawn or described.
        files: of requests, none where there is nothing to ask.
    """

    spec: str
    rows: int
    molecules: int
    duplicates: int
    invalid: int
    requests: int
    retries: int
    accepted: int
    dead: int
    undrawn: int
    files: tuple[Path, ...]


def write_batch(
    sources: Sequence[Source],
    out: Path,
    *,
    limit: int | None,
    spec: Spec,
    prompt: Prompt,
    store: Store | None,
    rules: BatchRules,
    overwrite: bool = False,
    show: Callable[[int], None] | None = None,
) -> WrittenBatch:
    """Write a request for every molecule of a library that has no record yet.

    Args:
        sources: the files of the library.
        out: the first file of requests; further ones have a number in their name.
        limit: read only so many rows.
        spec: what is asked; its model is named to the provider.
        prompt: that the spec refers to.
        store: that the answers will go to; None where there is none yet.
        rules: what goes into the batch, and how large a file may be.
        overwrite: whether files that are there may be replaced.
        show: called with the number of requests so far.

    Raises:
        UsageError: a file is there already, or a request is larger than a file may be.
        LibraryError: a file of the library cannot be read.
        OutputError: the disk is full.
        StoreError: Redis failed.
    """
    check_output(out, suffixes=[".jsonl"], inputs=[source.path for source in sources], overwrite=overwrite)
    check_output(batch_path(out), overwrite=overwrite)
    stale = {out.with_name(name) for name in files_of(out)} if overwrite else set()
    counts: Counter[str] = Counter()

    def note_rows(rows: int) -> None:
        counts["rows"] = rows

    def note_invalid(invalid: int) -> None:
        counts["invalid"] = invalid

    with ExitStack() as stack:
        files = _RequestFiles(out, head(spec, prompt), rules, overwrite, stack)
        molecules = unique_molecules(sources, limit, note_rows, note_invalid)
        for asked, line in _drawn(_to_ask(molecules, spec, store, rules, counts), spec, prompt, rules.token_field):
            if line is None:
                counts["undrawn"] += 1
                continue
            files.add(asked, line)
            counts["requests"] += 1
            counts["retries"] += asked.attempt > 0
            if show:
                show(counts["requests"])
        files.finish()
    if files.paths:  # else all is left as it was
        for path in stale - set(files.paths):
            path.unlink(missing_ok=True)
    counts["duplicates"] = counts["rows"] - counts["molecules"] - counts["invalid"]
    names = ("rows", "molecules", "duplicates", "invalid", "requests", "retries", "accepted", "dead", "undrawn")
    return WrittenBatch(spec=spec.id, files=tuple(files.paths), **{name: counts[name] for name in names})


def _to_ask(
    molecules: Iterator[Molecule], spec: Spec, store: Store | None, rules: BatchRules, counts: Counter[str]
) -> Iterator[Asked]:
    """Yield what is to be asked, and count what is left out."""
    while part := list(islice(molecules, LOOKED_UP)):
        counts["molecules"] += len(part)
        keys = [molecule.key for molecule in part]
        states = store.state_of(spec.id, keys) if store else ["missing"] * len(part)
        dead = [key for key, state in zip(keys, states, strict=True) if state == "dead"]
        letters = dict(zip(dead, store.fetch_letters(spec.id, dead), strict=True)) if store and dead else {}
        for molecule, state in zip(part, states, strict=True):
            asked = Asked.after(molecule.smiles, letters.get(molecule.key))
            given_up = state == "dead" and (asked is None or asked.attempt >= rules.max_attempts)
            if rules.everything:
                yield asked or Asked(molecule.smiles)
            elif state == "accepted" or given_up:
                counts["dead" if given_up else "accepted"] += 1
            elif asked is not None:
                yield asked


def _drawn(
    molecules: Iterable[Asked], spec: Spec, prompt: Prompt, token_field: str
) -> Iterator[tuple[Asked, bytes | None]]:
    """Yield the requests in order, drawn on all cores; None in the place of one that cannot be drawn or described."""
    line = partial(_line, spec=spec, prompt=prompt, token_field=token_field)
    cores = os.cpu_count() or 1
    idle: SimpleQueue[SafeDrawer] = SimpleQueue()
    ahead: deque[tuple[list[Asked], Future[list[bytes | None]]]] = deque()
    waiting = iter(molecules)
    with ExitStack() as drawers, ThreadPoolExecutor(cores) as threads:  # which wait for drawers, each a process
        for _ in range(cores):
            idle.put(drawers.enter_context(closing(SafeDrawer())))
        while True:
            while len(ahead) < AHEAD * cores and (part := list(islice(waiting, DRAWN_AT_A_TIME))):
                ahead.append((part, threads.submit(_lines, part, spec.image_size, line, idle)))
            if not ahead:
                return
            part, lines = ahead.popleft()
            yield from zip(part, lines.result(), strict=True)


def _lines(
    part: list[Asked],
    image_size: int | None,
    line: Callable[[Asked, bytes | UndrawableError | None], bytes | None],
    idle: SimpleQueue[SafeDrawer],
) -> list[bytes | None]:
    drawings: Sequence[bytes | UndrawableError | None] = [None] * len(part)
    if image_size is not None:
        drawer = idle.get()
        try:
            drawings = drawer.draw([asked.smiles for asked in part], image_size)
        finally:
            idle.put(drawer)
    return list(map(line, part, drawings))


def _line(
    asked: Asked, drawing: bytes | UndrawableError | None, *, spec: Spec, prompt: Prompt, token_field: str
) -> bytes | None:
    """Return a request, or None where there cannot be one."""
    try:
        if isinstance(drawing, UndrawableError):
            raise drawing
        request, _ = build_request(asked.smiles, asked.key, spec, prompt, drawing=drawing)
        again = retried(request, spec, asked.attempt, asked.rejected)
        return request_line(asked.key.hex(), spec.model.name, again, token_field)
    # Whatever is raised here is about this molecule.
    except Exception as error:  # noqa: BLE001
        logger.warning("%s cannot be rendered: %s", asked.smiles, error)
        return None


class _RequestFiles:
    """Files of requests, each within the limits, and what is kept beside them.

    They stand under their names when `stack` is closed, the first of them and what is kept beside them last.
    """

    def __init__(self, out: Path, head: str, rules: BatchRules, overwrite: bool, stack: ExitStack) -> None:
        self.paths: list[Path] = []
        self._out, self._head, self._rules, self._overwrite, self._stack = out, head, rules, overwrite, stack
        self._kept: IO[str] | None = None
        self._file: IO[bytes] | None = None
        self._all = self._requests = self._bytes = 0

    def add(self, asked: Asked, line: bytes) -> None:
        """Write a request, into the next file where this one is full."""
        if len(line) > self._rules.max_bytes:
            raise UsageError(
                f"A request has {counted(len(line), 'byte')}, more than a file may have: raise --max-bytes, or lower "
                "--image-size."
            )
        full = self._requests == self._rules.max_requests or self._bytes + len(line) > self._rules.max_bytes
        if self._file is None or full:
            self._begin_file()
        assert self._file is not None and self._kept is not None
        self._file.write(line)
        self._kept.write(entry(asked))
        self._all += 1
        self._requests += 1
        self._bytes += len(line)

    def finish(self) -> None:
        """Write down that this is all."""
        if self._kept and self._file:
            self._file.close()
            self._kept.write(foot(self._all, [path.name for path in self.paths]))
            self._kept.close()

    def _begin_file(self) -> None:
        if self._kept is None:
            aside = self._stack.enter_context(replacing(batch_path(self._out)))
            self._kept = self._stack.enter_context(aside.open("w", encoding="utf-8"))
            self._kept.write(self._head)
        if self._file:
            self._file.close()
        number = len(self.paths) + 1
        path = self._out if number == 1 else self._out.with_name(f"{self._out.stem}-{number}.jsonl")
        if number > 1:
            check_output(path, overwrite=self._overwrite)
        aside = self._stack.enter_context(replacing(path))
        self._file = self._stack.enter_context(aside.open("wb"))
        self._requests = self._bytes = 0
        self.paths.append(path)
