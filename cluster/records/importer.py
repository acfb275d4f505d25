"""Annotations made elsewhere, into the store: one JSON object a line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.library.errors import LibraryError
from cluster.library.streams import text
from cluster.records.answers import Answer, AnswerStore
from cluster.records.finish_reasons import as_an_engine_says
from cluster.records.json_lines import TOO_LONG, is_cut, numbered_lines
from cluster.runs.run import Run, mark_lost_runs
from cluster.store.record import RAW_SHOWN, DeadLetter, Ledger, Record
from cluster.store.store import Store
from teacher.chemistry.facts import facts_of
from teacher.chemistry.molecule import InvalidMoleculeError, Molecule
from teacher.chemistry.parsing import parse_safely
from teacher.llm.spec import Model, PromptRef, Spec
from teacher.llm.validation import RejectedError, storable, validate
from teacher.provenance import digest, installed

REASON_KEPT = 200  # characters of why an LLM stopped
PACKAGES = ("gallon", "rdkit")
MOST_TOKENS = 10**9  # of one annotation: Redis and its scripts count exactly only so far
MOST_SPECS = 64  # of one file: each is a run in the store, with a thread that gives signs of life


class Maker(NamedTuple):
    """Who wrote annotations, and what it was asked, as far as it is known."""

    model: str
    revision: str
    prompt: str
    prompt_version: int

    @property
    def spec(self) -> Spec:
        """The spec under which the annotations are kept; what is not known of it is None or `unknown`."""
        return Spec(
            model=Model(name=self.model, revision=self.revision),
            prompt=PromptRef(name=self.prompt, version=self.prompt_version, digest="unknown"),
            graph=False,
            sampling=None,
            structured=False,
        )


class Line(BaseModel):
    """One imported annotation. Further keys are allowed and not kept.

    Attributes:
        smiles: the molecule.
        text: what the LLM wrote.
        model, revision: who wrote it, as far as it is known.
        prompt, prompt_version: what it was asked, by a name of your own.
        finish_reason: why the LLM stopped, in its maker's words; a text is refused where they are known to mean that it
            is not whole, as `cluster.records.finish_reasons` does.
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
    def maker(self) -> Maker:
        """Who wrote it, and what it was asked."""
        return Maker(self.model, self.revision, self.prompt, self.prompt_version)


@dataclass(frozen=True, slots=True)
class _Broken:
    """A line that is no annotation: how it begins, and why it is none."""

    raw: str
    reason: str


_Numbered = tuple[int, Line | _Broken]


def import_annotations(store: Store, path: Path) -> dict[str, Ledger]:
    """Import a file and return the ledger of its rows for each spec that it names.

    A row is a line that is not blank. Texts are checked as the texts of a run are: an empty or cut-off one becomes a
    dead letter. A molecule that already has a record under the same spec keeps it, and one that has a dead letter takes
    the first text that is accepted.

    Raises:
        LibraryError: the file cannot be read, its first line is no annotation, or it names more than `MOST_SPECS`
            models and prompts; what was imported before that stays.
        StoreError: Redis failed, or it would throw annotations away when it is full.
        LostRunError: part of what was imported is gone from the store.
    """
    store.check_policy()
    mark_lost_runs(store)
    imports: dict[str, _Import] = {}
    software = _software(store)
    try:
        with ExitStack() as lives:
            for spec, part in _parts_by_spec(path):
                if spec.id not in imports:
                    _refuse_too_many(path, len(imports) + 1)
                    imports[spec.id] = _Import(store, spec, path, software, lives)
                imports[spec.id].take(part)
    except KeyboardInterrupt:
        for begun in imports.values():
            begun.run.end("interrupted")
        raise
    except Exception as error:
        for begun in imports.values():
            begun.run.fail_by(error)
        raise
    return {spec_id: begun.finish() for spec_id, begun in imports.items()}


class _Import:
    """The import of the lines of one spec: a run like any other, whose answers are there already.

    Attributes:
        run: what the store knows of it; it gives signs of life until `lives` is closed.
    """

    def __init__(self, store: Store, spec: Spec, path: Path, software: str, lives: ExitStack) -> None:
        self._store, self._path, self._software = store, str(path), software
        store.save_spec(spec)
        self.run = Run(store, spec, [self._path], None, time.time())
        self._answers = AnswerStore(store, spec.id, self.run.id)
        self._rows = 0
        lives.enter_context(self.run.alive())

    def take(self, lines: Sequence[_Numbered]) -> None:
        """Store a few lines, in their order.

        Raises:
            LostRunError: what was taken before is no more in the store.
        """
        self.run.check()
        self._rows += len(lines)
        answers, invalid = [], {}
        for number, line in lines:
            try:
                answers.append(self._answer(number, line))
            except InvalidMoleculeError as error:
                raw = line.smiles[:RAW_SHOWN] if isinstance(line, Line) else line.raw
                invalid[number] = self._dead_letter(number, "parse", error, raw=raw)
        first = self._answers.register(0, answers)
        self._store.note_stretches(self.run.id, 0, _stretches([number for number, _ in lines]), invalid)
        self._answers.take(answers, first)

    def finish(self) -> Ledger:
        """Write down how the import ended.

        Raises:
            LostRunError: not all that was taken is in the store.
        """
        self.run.expect(self._rows)
        return self.run.end("finished")

    def _answer(self, number: int, line: Line | _Broken) -> Answer:
        """Parse the molecule of a line.

        Raises:
            InvalidMoleculeError: the line is no annotation, or its molecule is none.
        """
        if isinstance(line, _Broken):
            raise InvalidMoleculeError(f"The line is no annotation: {line.reason}")
        molecule = parse_safely(line.smiles.encode())
        tokens = (line.prompt_tokens, line.completion_tokens)
        return Answer(molecule.key, number, tokens, partial(self._outcome, number, line, molecule))

    def _outcome(self, number: int, line: Line, molecule: Molecule) -> Record | DeadLetter:
        try:
            checked = validate(line.text, as_an_engine_says(line.finish_reason), None, facts_of(molecule.mol))
        except RejectedError as error:
            return self._dead_letter(number, error.stage, error, smiles=molecule.smiles)
        return Record(
            smiles=molecule.smiles,
            text=line.text,
            finish_reason=storable(line.finish_reason or "unknown")[:REASON_KEPT],
            prompt_tokens=line.prompt_tokens,
            completion_tokens=line.completion_tokens,
            grounding=checked.grounding,
            attempts=1,
            seed=0,
            temperature=0.0,
            max_tokens=0,
            seconds=0.0,
            run=self.run.id,
            software=self._software,
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


def _software(store: Store) -> str:
    """Save what checks annotations that were made elsewhere, by what nobody knows, and return its id."""
    versions = {**installed(PACKAGES), "made by": "imported"}
    software = digest(versions, 12)
    store.save_software(software, versions)
    return software


def _parts_by_spec(path: Path) -> Iterator[tuple[Spec, list[_Numbered]]]:
    """Yield the numbered lines of a file, a part of it at a time and those of a spec together.

    What is no annotation belongs to the spec of what stands before it.
    """
    current: Maker | None = None
    for part in numbered_lines(path):
        by_maker: dict[Maker, list[_Numbered]] = {}
        for number, raw in part:
            line = _line(raw)
            if isinstance(line, Line):
                current = line.maker
            elif current is None:
                raise LibraryError(f"{path} does not begin with an annotation: {line.reason}.")
            by_maker.setdefault(current, []).append((number, line))
        yield from ((maker.spec, lines) for maker, lines in by_maker.items())


def _refuse_too_many(path: Path, specs: int) -> None:
    """Refuse a file that names so many specs that their names cannot be meant as such."""
    if specs > MOST_SPECS:
        raise LibraryError(
            f"{path} names more than {MOST_SPECS} models and prompts: 'prompt' should be a name, not the text that was "
            "sent (nor should 'model', 'revision' or 'prompt_version' change from line to line). What was imported "
            "until then is kept."
        )


def _stretches(numbers: Sequence[int]) -> list[range]:
    """Return ascending numbers as stretches of consecutive ones."""
    side_by_side = groupby(enumerate(numbers), key=lambda numbered: numbered[1] - numbered[0])
    stretches = [[number for _, number in stretch] for _, stretch in side_by_side]
    return [range(stretch[0], stretch[-1] + 1) for stretch in stretches]


def _line(raw: bytes) -> Line | _Broken:
    try:
        return Line.model_validate_json(text(raw))
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        return _Broken(text(raw).strip()[:RAW_SHOWN], TOO_LONG if is_cut(raw) else reason)
