"""The answers of a provider's batch API, into the store: checked as those of an engine are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from cluster.library.errors import LibraryError
from cluster.library.streams import text
from cluster.records.answers import Answer, AnswerStore
from cluster.records.batch import Asked, Batch
from cluster.records.json_lines import TOO_LONG, Numbered, is_cut, numbered_lines
from cluster.runs.run import Run, mark_lost_runs
from cluster.store.record import RAW_SHOWN, DeadLetter, Ledger, Record, Stage
from cluster.store.store import Store
from teacher.chemistry.facts import structure_of
from teacher.chemistry.molecule import mol_of
from teacher.llm.acceptance import accept
from teacher.llm.completion import Completion
from teacher.llm.engine import PromptRejectedError
from teacher.llm.engines.batch_lines import BatchAnswer, answer_of
from teacher.llm.request import sampling_of
from teacher.llm.validation import RejectedError
from teacher.provenance import digest, installed
from teacher.wording import counted

KEYS_PER_CALL = 10_000
TEXT_SHOWN = 400
PACKAGES = ("gallon", "rdkit")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchReading:
    """What was read.

    Attributes:
        run, spec: ids of the run that stored the answers, and of the spec that they are stored under.
        ledger: of the lines; those that are no answers, or answer what was not asked, are invalid rows.
        broken: lines that are no answers.
        unknown: answers to what is not in the batch.
        unanswered: molecules of the batch that have neither a record nor a dead letter yet.
        models: what the provider says has answered, and how often.
    """

    run: str
    spec: str
    ledger: Ledger
    broken: int
    unknown: int
    unanswered: int
    models: dict[str, int] = field(default_factory=dict)


def read_results(
    store: Store, batch: Batch, paths: Sequence[Path], show: Callable[[int], None] | None = None
) -> BatchReading:
    """Store the answers to a batch, in whatever order they come; reading them again changes nothing.

    A row is a line that is not blank. The first answer that is accepted is a molecule's record, also where there was a
    dead letter before.

    Args:
        store: that takes them.
        batch: what was asked.
        paths: files of answers and of errors.
        show: called with the number of lines so far.

    Raises:
        LibraryError: a file cannot be read (what stood before the damage is stored), or none of its lines answers a
            request of this batch.
        StoreError: Redis failed, or it would throw annotations away when it is full.
        LostRunError: part of what was read is gone from the store.
    """
    store.check_policy()
    mark_lost_runs(store)
    store.save_spec(batch.spec, batch.prompt)
    reading = _Reading(store, batch, [str(path) for path in paths])
    try:
        with reading.run.alive():
            for source, path in enumerate(paths):
                for part in numbered_lines(path):
                    reading.take(source, part)
                    if show:
                        show(reading.rows)
            reading.refuse_strangers()
    except KeyboardInterrupt:
        reading.run.end("interrupted")
        raise
    except Exception as error:
        reading.run.fail_by(error)
        raise
    return reading.finish()


class _Reading:
    """A run like any other, whose answers are there already.

    Attributes:
        run: what the store knows of it.
        rows: lines that were taken.
    """

    def __init__(self, store: Store, batch: Batch, paths: list[str]) -> None:
        self._store, self._batch, self._paths = store, batch, paths
        self.run = Run(store, batch.spec, paths, None, time.time())
        self.rows = 0
        self._answers = AnswerStore(store, batch.spec.id, self.run.id)
        self._counts: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._checked_by = installed(PACKAGES)
        self._software: dict[str, str] = {}

    def take(self, source: int, numbered: Sequence[Numbered]) -> None:
        """Store consecutive lines of a file.

        Raises:
            LostRunError: what was taken before is no more in the store.
        """
        self.run.check()
        self.rows += len(numbered)
        answers: list[Answer] = []
        invalid: dict[int, DeadLetter] = {}
        for number, line in numbered:
            found = self._answer(source, number, line)
            if isinstance(found, Answer):
                answers.append(found)
            else:
                invalid[number] = self._letter(source, number, "parse", found, raw=text(line)[:RAW_SHOWN])
        first = self._answers.register(source, answers)
        self._store.note_rows(self.run.id, source, range(numbered[0][0], numbered[-1][0] + 1), invalid)
        self._answers.take(answers, first)

    def refuse_strangers(self) -> None:
        """Refuse files that have nothing to do with the batch.

        Raises:
            LibraryError: not one line answers a request of it.
        """
        strangers = self._counts["broken"] + self._counts["unknown"]
        if strangers == self.rows:
            raise LibraryError(
                f"None of {counted(self.rows, 'line')} in {', '.join(self._paths)} answers a request of this batch: "
                "name the files that the provider returned, and with --requests those that it was sent."
            )

    def finish(self) -> BatchReading:
        """Write down how the reading ended, and count what the batch still lacks.

        Raises:
            LostRunError: not all that was taken is in the store.
        """
        self.run.expect(self.rows)
        ledger = self.run.end("finished")
        keys = iter([each.key for each in self._batch.asked.values()])
        unanswered = 0
        while part := list(islice(keys, KEYS_PER_CALL)):
            states = Counter(self._store.state_of(self._batch.spec.id, part))
            unanswered += states["missing"] + states["pending"]
        return BatchReading(
            run=self.run.id,
            spec=self._batch.spec.id,
            ledger=ledger,
            broken=self._counts["broken"],
            unknown=self._counts["unknown"],
            unanswered=unanswered,
            models=dict(self._models),
        )

    def _answer(self, source: int, number: int, line: bytes) -> Answer | Exception:
        """Find out what a line answers, or why it answers nothing."""
        try:
            answer = answer_of(line)
        except ValueError as error:
            self._counts["broken"] += 1
            return ValueError(f"The line is no answer: {TOO_LONG if is_cut(line) else error}.")
        asked = self._batch.asked.get(answer.custom_id)
        if asked is None:
            self._counts["unknown"] += 1
            return LookupError(f"The line answers what is not in this batch: {answer.custom_id[:RAW_SHOWN]}.")
        if model := answer.claims.get("model"):
            self._models[model] += 1
        judge = partial(self._outcome, source, number, asked, answer)
        return Answer(asked.key, number, _tokens(answer), judge)

    def _outcome(self, source: int, number: int, asked: Asked, answer: BatchAnswer) -> Record | DeadLetter:
        stage: Stage
        reason: Exception
        outcome = answer.outcome
        try:
            if isinstance(outcome, Exception):
                raise outcome
            return self._record(asked, outcome, answer.claims)
        except RejectedError as error:
            stage, reason = error.stage, error
        except PromptRejectedError as error:
            stage, reason = "prompt", error
        # What nobody foresaw, about one molecule, costs that molecule at most.
        except Exception as error:  # noqa: BLE001
            stage, reason = "engine", error
        written = outcome.text[:TEXT_SHOWN] if isinstance(outcome, Completion) else None
        return self._letter(
            source, number, stage, reason, smiles=asked.smiles, text=written, attempts=asked.attempt + 1
        )

    def _record(self, asked: Asked, completion: Completion, claims: dict[str, str]) -> Record:
        """Make an answer a record.

        Raises:
            RejectedError: it is cut off, invalid, or thoughts alone.
        """
        spec, facts = self._batch.spec, structure_of(mol_of(asked.smiles))
        annotation = accept(completion, self._batch.prompt.json_schema, facts, spec)
        return Record.of(
            asked.smiles,
            completion,
            annotation,
            sampling_of(spec, asked.attempt, asked.rejected),
            attempts=asked.attempt + 1,
            seconds=0.0,
            run=self.run.id,
            software=self._software_of(claims),
            time=round(self.run.started, 3),
        )

    def _software_of(self, claims: dict[str, str]) -> str:
        """Return the id of what has made an answer: what the provider claims, and what has checked it."""
        facts = str(sorted(claims.items()))
        if facts not in self._software:
            versions = {**self._checked_by, **{f"claimed {name}": value for name, value in claims.items()}}
            self._software[facts] = digest(versions, 12)
            self._store.save_software(self._software[facts], versions)
        return self._software[facts]

    def _letter(self, source: int, row: int, stage: Stage, error: Exception, **more: str | int | None) -> DeadLetter:
        return DeadLetter(
            stage=stage,
            error=type(error).__name__,
            message=str(error) or "It failed without a word.",
            source=self._paths[source],
            row=row,
            run=self.run.id,
            time=round(self.run.started, 3),
            **more,  # type: ignore[arg-type]
        )


def _tokens(answer: BatchAnswer) -> tuple[int, int]:
    outcome = answer.outcome
    return (outcome.prompt_tokens, outcome.completion_tokens) if isinstance(outcome, Completion) else (0, 0)
