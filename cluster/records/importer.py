"""Annotations made elsewhere, into the store: one JSON object a line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.library.errors import LibraryError
from cluster.library.streams import text
from cluster.records.json_lines import numbered_lines
from cluster.runs.run import Run, mark_lost_runs
from cluster.store.record import RAW_SHOWN, DeadLetter, Ledger, Record
from cluster.store.store import Row, Store
from teacher.chemistry.facts import facts_of
from teacher.chemistry.molecule import InvalidMoleculeError, Molecule
from teacher.chemistry.parsing import parse_safely
from teacher.errors import GallonError
from teacher.llm.spec import Model, PromptRef, Spec
from teacher.llm.validation import RejectedError, validate

MOST_TOKENS = 10**9  # of one annotation: Redis and its scripts count exactly only so far


class Line(BaseModel):
    """One imported annotation. Further keys are allowed and not kept.

    Attributes:
        smiles: the molecule.
        text: what the LLM wrote.
        model, revision: who wrote it, as far as it is known.
        prompt, prompt_version: what it was asked, by a name of your own.
        finish_reason: why the LLM stopped; a cut-off text is refused, an unknown reason is not.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    smiles: str
    text: str
    model: str
    revision: str = "unknown"
    prompt: str = "imported"
    prompt_version: int = 1
    finish_reason: str | None = None
    prompt_tokens: int = Field(default=0, ge=0, le=MOST_TOKENS)
    completion_tokens: int = Field(default=0, ge=0, le=MOST_TOKENS)

    @property
    def spec(self) -> Spec:
        """The spec under which the annotation is kept; what is not known of it is None or `unknown`."""
        return Spec(
            model=Model(name=self.model, revision=self.revision),
            prompt=PromptRef(name=self.prompt, version=self.prompt_version, digest="unknown"),
            graph=False,
            sampling=None,
            structured=False,
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the file that can be read, with its molecule."""

    number: int
    line: Line
    molecule: Molecule


def import_annotations(store: Store, path: Path) -> dict[str, Ledger]:
    """Import a file and return the ledger of its rows for each spec that it names.

    A row is a line that is not blank. Texts are checked as the texts of a run are: an empty or cut-off one becomes a
    dead letter. A molecule that already has a record under the same spec keeps it.

    Raises:
        LibraryError: the file cannot be read, or its first line is no annotation.
        StoreError: Redis failed, or it would throw annotations away when it is full.
        LostRunError: part of what was imported is gone from the store.
    """
    store.check_policy()
    mark_lost_runs(store)
    imports: dict[str, _Import] = {}
    try:
        with ExitStack() as lives:
            for spec, part in _parts_by_spec(path):
                if spec.id not in imports:
                    imports[spec.id] = _Import(store, spec, path, lives)
                imports[spec.id].take(part)
    except KeyboardInterrupt:
        for begun in imports.values():
            begun.run.end("interrupted")
        raise
    except GallonError as error:
        for begun in imports.values():
            begun.run.fail(str(error))
        raise
    return {spec_id: begun.finish() for spec_id, begun in imports.items()}


class _Import:
    """The import of the lines of one spec: a run like any other, whose answers are there already.

    Attributes:
        run: what the store knows of it; it gives signs of life until `lives` is closed.
    """

    def __init__(self, store: Store, spec: Spec, path: Path, lives: ExitStack) -> None:
        self._store, self._spec, self._path = store, spec, str(path)
        store.save_spec(spec)
        self.run = Run(store, spec, [self._path], None, time.time())
        self._rows = 0
        lives.enter_context(self.run.alive())

    def take(self, lines: Sequence[tuple[int, Line | str]]) -> None:
        """Store a few consecutive lines.

        Raises:
            LostRunError: what was taken before is no more in the store.
        """
        self.run.check()
        self._rows += len(lines)
        entries, invalid = [], {}
        for number, line in lines:
            try:
                entries.append(_entry(number, line))
            except InvalidMoleculeError as error:
                raw = line.smiles[:RAW_SHOWN] if isinstance(line, Line) else ""
                invalid[number] = self._dead_letter(number, "parse", error, raw=raw)
        rows = [Row(entry.molecule.key, 0, entry.number) for entry in entries]
        flags = self._store.register(self._spec.id, self.run.id, rows)
        self._store.note_rows(self.run.id, 0, range(lines[0][0], lines[-1][0] + 1), invalid)
        new = [entry for entry, flag in zip(entries, flags, strict=True) if flag]
        self._store.commit(
            self._spec.id,
            self.run.id,
            [(entry.molecule.key, self._outcome(entry)) for entry in new],
            [(entry.line.prompt_tokens, entry.line.completion_tokens) for entry in new],
        )

    def finish(self) -> Ledger:
        """Write down how the import ended.

        Raises:
            LostRunError: not all that was taken is in the store.
        """
        self.run.expect(self._rows)
        return self.run.end("finished")

    def _outcome(self, entry: _Entry) -> Record | DeadLetter:
        line = entry.line
        try:
            checked = validate(line.text, line.finish_reason or "stop", None, facts_of(entry.molecule.mol))
        except RejectedError as error:
            return self._dead_letter(entry.number, error.stage, error, smiles=entry.molecule.smiles)
        return Record(
            smiles=entry.molecule.smiles,
            text=line.text,
            finish_reason=line.finish_reason or "unknown",
            prompt_tokens=line.prompt_tokens,
            completion_tokens=line.completion_tokens,
            grounding=checked.grounding,
            attempts=1,
            seed=0,
            temperature=0.0,
            max_tokens=0,
            seconds=0.0,
            run=self.run.id,
            software="imported",
            time=round(self.run.started, 3),
        )

    def _dead_letter(self, row: int, stage: Any, error: Exception, **molecule: str) -> DeadLetter:
        return DeadLetter(
            stage=stage,
            error=type(error).__name__,
            message=str(error),
            source=self._path,
            row=row,
            run=self.run.id,
            time=round(self.run.started, 3),
            **molecule,  # type: ignore[arg-type]
        )


def _parts_by_spec(path: Path) -> Iterator[tuple[Spec, list[tuple[int, Line | str]]]]:
    """Yield the numbered rows of a file, a few consecutive ones of a spec at a time.

    What is no annotation belongs to the spec of what stands before it.
    """
    current: Spec | None = None
    for part in _parts(path):
        for spec, group in groupby(part, key=lambda item: item[1].spec if isinstance(item[1], Line) else None):
            lines, current = list(group), spec or current
            if current is None:
                raise LibraryError(f"{path} does not begin with an annotation: {lines[0][1]}.")
            yield current, lines


def _parts(path: Path) -> Iterator[list[tuple[int, Line | str]]]:
    """Yield the numbered rows of a file, a few at a time; what is no annotation comes as the reason why."""
    for part in numbered_lines(path):
        yield [(number, _line(raw)) for number, raw in part]


def _line(raw: bytes) -> Line | str:
    try:
        return Line.model_validate_json(text(raw))
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}"


def _entry(number: int, line: Line | str) -> _Entry:
    """Parse the molecule of a line.

    Raises:
        InvalidMoleculeError: the line is no annotation, or its molecule is none.
    """
    if isinstance(line, str):
        raise InvalidMoleculeError(f"is no annotation: {line}")
    return _Entry(number, line, parse_safely(line.smiles.encode()))
