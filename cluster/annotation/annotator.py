"""The Ray actor that annotates: one LLM engine, fed by several threads so that it always has a full batch."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.annotation.engine_host import EngineHost
from cluster.annotation.in_flight import InFlight, Pulse, failed
from cluster.annotation.job import Job, software_id, software_versions
from cluster.annotation.metrics import AnnotatorMetrics, gpus_held, place
from cluster.annotation.shared_lock import SharedLock
from cluster.runs.run import EndedWell
from cluster.runs.workers import WorkerReporter
from cluster.runtime.logs import log_in_worker
from cluster.store.record import DeadLetter, Record, Stage
from cluster.store.store import FINISHED, HELD, Store
from teacher.chemistry.depiction import REMEDY
from teacher.chemistry.facts import Structure
from teacher.errors import EngineDeadError, EngineRefusedError
from teacher.llm.acceptance import accept
from teacher.llm.completion import Completion
from teacher.llm.engine import Engine, PromptRejectedError, Request
from teacher.llm.request import build_request, retried
from teacher.llm.row_columns import unpack_cells
from teacher.llm.validation import RejectedError
from teacher.llm.validation import Stage as Check
from teacher.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

TEXT_SHOWN = 400
# Molecules with which an engine was lost once are tried this many at a time, so that one of them that kills is found
# after about two square roots of what an annotator holds; who was lost twice is tried alone.
SUSPECTS_TOGETHER = 16
MOST_LOSSES = 4  # of engines with a molecule in their hands; the last two times it was alone


@dataclass(slots=True)
class Task:
    """A molecule on its way through the engine.

    Attributes:
        columns: the cells of its row that the prompt shows, by the names of their columns.
        losses: engines that were lost with it in their hands, over all runs.
        drawing: its packed picture, if it was drawn before.
        refused: why it cannot be rendered.
        facts: what RDKit knows of the molecule.
        request: its rendered prompt; made when it is first asked.
        tries: how many answers were refused, or failed.
        deaths: what the engines said that died with it in their hands, in this process.
        rejected: the check that refused the last answer; None where it failed in another way, or there was none.
        spent: prompt and completion tokens of all tries.
        claim: the id of the call that claimed it last.
    """

    key: bytes
    smiles: str
    source: str
    row: int
    losses: int
    columns: dict[str, str] = field(default_factory=dict)
    drawing: bytes | None = None
    refused: PromptRejectedError | None = None
    facts: Structure | None = None
    request: Request | None = None
    tries: int = 0
    deaths: list[str] = field(default_factory=list)
    rejected: Check | None = None
    spent: tuple[int, int] = (0, 0)
    claim: str = ""
    started: float = field(default_factory=time.monotonic)


class StoppedError(Exception):
    """The run has ended; nobody waits for this any more."""


class Annotator:
    """Annotates batches of molecules; called from several threads of one actor at the same time.

    The engine starts with the first molecule that is to be annotated, so that a run with nothing to do starts none.
    Holding, losing and trying a molecule are counted apart. A claim counts nothing. A loss counts when an engine, or
    the whole worker, dies with the molecule in its hands. A try counts when an answer is refused, or is a failure.
    """

    def __init__(self, job: Job, log_folder: str, log_level: int = logging.INFO) -> None:
        self._job = job
        self._log_folder, self._log_level = Path(log_folder), log_level
        self._log_path = Path(log_folder) / f"vllm-{socket.gethostname()}-{os.getpid()}.log"
        self._engine_lock = SharedLock()  # to the engine
        self._store_lock = SharedLock()
        self._stopped = False
        self._pulse = Pulse()

    def start(self) -> tuple[str, str]:
        """Reach the store, and return where this annotator is, and what it is called in the store.

        Its engine waits for the first molecule.

        Raises:
            StoreError: the store cannot be reached from here.
        """
        job = self._job
        log_in_worker(self._log_folder, "annotator", self._log_level)
        self._store = Store(job.store_url)
        gpus = gpus_held()
        logger.info("annotator of run %s on %s; its engine's log is %s", job.run, place(), self._log_path.name)
        self._reporter = WorkerReporter(self._store, job.run, gpus)
        self._metrics = AnnotatorMetrics(job.run, gpus, self._reporter)
        self._host = EngineHost(
            lambda: job.engine(self._log_path), job.start_waits, self._reporter.engine, self._metrics.engine_died
        )
        self._ended_well = EndedWell(self._store, job.spec.id)
        versions = software_versions()
        self._software = software_id(versions)
        self._store.save_software(self._software, versions)
        return place(), self._reporter.worker

    def warm_up(self) -> None:
        """Start the engine ahead of the first molecule, and wait until it is ready.

        Raises:
            EngineStartError: no engine can be started here.
        """
        self._host.engine()

    def stop(self) -> None:
        """Store nothing from now on, so that what is counted after this stays true."""
        logger.info("told to stop")
        with self._store_lock.exclusive():
            self._stopped = True

    def close(self) -> None:
        """Stop the engine in good order, and sign no more."""
        self._host.close()
        self._reporter.close()

    def annotate(self, block: pa.Table, start: int, rows: int) -> None:
        """Annotate some rows of a block as `plan` makes it, and store what becomes of each molecule.

        Raises:
            EngineStartError: no engine can be started here; nothing is counted against the molecules.
        """
        tasks = {row["key"]: self._task(row) for row in block.slice(start, rows).to_pylist()}
        self._claim(tasks, list(tasks.values()))
        if tasks:
            self._host.begin()
        while tasks:
            group = next_group(tasks.values())
            try:
                self._try(group, tasks)
            except EngineDeadError as error:
                for task in group:
                    task.deaths.append(str(error))
                left = [task for task in group if task.key in tasks]
                logger.info("%s were in the engine's hands, and are claimed anew", counted(len(left), "molecule"))
                self._claim(tasks, left)

    def _task(self, row: dict[str, Any]) -> Task:
        """Make a task of a row of a block; what could not be drawn is not asked about."""
        undrawn = row.get("undrawn")
        return Task(
            key=row["key"],
            smiles=row["smiles"],
            source=self._job.sources[row["source"]],
            row=row["row"],
            losses=0,
            columns=unpack_cells(row.get("columns", "")),
            drawing=row.get("drawing"),
            refused=PromptRejectedError(f"This molecule cannot be drawn: {undrawn}.") if undrawn else None,
        )

    # Who is tried, and with whom

    def _claim(self, tasks: dict[bytes, Task], claimed: Sequence[Task]) -> None:
        """Claim molecules, anew where an engine died with them; drop those that others have, and those to be blamed."""
        claim = secrets.token_hex(6)
        keys = [task.key for task in claimed]
        spec_id = self._job.spec.id
        alive = frozenset(self._store.alive(spec_id))  # before who ended well: a run says so before it is no more alive
        losses = self._store.claim(spec_id, self._job.run, keys, claim, self._ended_well.runs(alive), alive=alive)
        for task, lost in zip(claimed, losses, strict=True):
            task.losses, task.claim = lost, claim
            if lost in {FINISHED, HELD}:
                del tasks[task.key]
        logger.debug("claim %s: %d molecules; %d are in these hands now", claim, len(keys), len(tasks))
        blamed = [task for task in tasks.values() if task.losses >= MOST_LOSSES]
        self._commit([(task, self._blame(task)) for task in blamed])
        for task in blamed:
            del tasks[task.key]

    def _blame(self, task: Task) -> DeadLetter:
        """Write the letter of a molecule that engines or workers died with, at last twice while it was alone."""
        if task.deaths:
            message = f"The engine died each of the {task.losses} times it worked on this molecule: {task.deaths[-1]}"
            return self._dead_letter(task, "engine", "EngineDeadError", message)
        message = "Workers died again and again while they worked on this molecule."
        return self._dead_letter(task, "engine", "WorkerDiedError", message)

    def _try(self, group: Sequence[Task], tasks: dict[bytes, Task]) -> None:
        """Bring a group to an end; each molecule leaves `tasks` when it is stored.

        Suspects have the engine to themselves, so that none but them can be what kills it.

        Raises:
            EngineDeadError: the engine died; those of the group that are left in `tasks` were in its hands.
            EngineStartError: there is no engine.
        """
        suspected = group[0].losses > 0
        with self._engine_lock.exclusive() if suspected else self._engine_lock.shared():
            engine = self._host.engine()
            self._store.hand(self._job.spec.id, self._job.run, [(task.key, task.claim) for task in group])
            try:
                self._ask(engine, group, tasks)
            except EngineDeadError as error:
                self._host.discard(engine, error)  # before anybody else gets the lock and is blamed
                raise

    # Through the engine

    def _ask(self, engine: Engine, group: Sequence[Task], tasks: dict[bytes, Task]) -> None:
        asked = InFlight[Task](engine, self._job.request_seconds, self._pulse)
        for task in group:
            self._submit(asked, task)
        left = len(group)
        with self._metrics.in_flight(left) as note_left:
            while left:
                outcomes = []
                death: EngineDeadError | None = None
                for task, answer in asked.answered():
                    try:
                        outcome = self._validate(task, answer)
                    except EngineDeadError as error:
                        death = error
                        continue
                    if outcome is None:
                        self._submit(asked, task)
                    else:
                        outcomes.append((task, outcome))
                self._commit(outcomes)
                for task, _ in outcomes:
                    del tasks[task.key]
                if death is not None:
                    raise death
                left -= len(outcomes)
                note_left(left)

    def _submit(self, asked: InFlight[Task], task: Task) -> None:
        task.started = time.monotonic()
        if task.request is None and task.refused is None:
            self._prepare(task)
        if task.request is None:
            asked.expect(task, failed(task.refused or PromptRejectedError("There is no prompt.")))
        else:
            asked.submit(task, retried(task.request, self._job.spec, task.tries, task.rejected))

    def _validate(self, task: Task, answer: Future[Completion]) -> Record | DeadLetter | None:
        """Turn an answer into a record or a dead letter, or into None where another try is due.

        Raises:
            EngineDeadError: the answer is that the engine is dead.
        """
        stage: Stage
        reason: Exception
        text = None
        try:
            completion = answer.result()
            text = completion.text or (completion.thought.text if completion.thought else "")
            return self._accept(task, completion)
        except EngineDeadError:
            raise
        except PromptRejectedError as error:
            return self._dead_letter(task, "prompt", type(error).__name__, str(error))
        except RejectedError as error:
            stage, reason = error.stage, error
            task.rejected = error.stage
        # What nobody foresaw, about one molecule, costs that molecule at most.
        except Exception as error:  # noqa: BLE001
            stage, reason = "engine", error
        task.tries += 1
        if task.tries < self._job.max_attempts:
            logger.debug("%s is tried again (%s): %s", task.key.hex(), stage, reason)
            self._metrics.retried(stage)
            return None
        return self._dead_letter(task, stage, type(reason).__name__, str(reason) or "It failed without a word.", text)

    def _accept(self, task: Task, completion: Completion) -> Record:
        """Count what an answer cost, and make it a record.

        Raises:
            RejectedError: it is cut off or invalid.
        """
        seconds = time.monotonic() - task.started
        self._metrics.answered(seconds, completion.thought_tokens)
        task.spent = (task.spent[0] + completion.prompt_tokens, task.spent[1] + completion.written)
        return self._record(task, completion, seconds)

    # From a row to a request

    def _prepare(self, task: Task) -> None:
        """Render the prompt of a molecule, or note why it cannot be: whatever is raised, it is about this one.

        Raises:
            EngineRefusedError: this machine lacks what draws.
        """
        try:
            task.request, task.facts = build_request(
                task.smiles,
                task.key,
                self._job.spec,
                self._job.prompt,
                columns=task.columns,
                drawing=task.drawing,
            )
        except ImportError as error:
            raise EngineRefusedError(f"RDKit cannot draw there ({error}): {REMEDY}.") from error
        except Exception as error:  # noqa: BLE001
            task.refused = PromptRejectedError(f"This molecule cannot be rendered: {error}")

    # To the store

    def _record(self, task: Task, completion: Completion, seconds: float) -> Record:
        assert task.facts and task.request, "a task is prepared before it is answered"
        annotation = accept(completion, self._job.prompt.json_schema, task.facts, self._job.spec)
        sampling = retried(task.request, self._job.spec, task.tries, task.rejected).sampling
        return Record.of(
            task.smiles,
            completion,
            annotation,
            sampling,
            attempts=task.losses + task.tries + 1,
            seconds=round(seconds, 4),
            run=self._job.run,
            software=self._software,
            time=round(time.time(), 3),
            columns=task.columns,
        )

    def _dead_letter(self, task: Task, stage: Stage, error: str, message: str, text: str | None = None) -> DeadLetter:
        logger.debug("%s is a dead letter (%s): %s", task.key.hex(), stage, message)
        return DeadLetter(
            stage=stage,
            error=error,
            message=message,
            source=task.source,
            row=task.row,
            smiles=task.smiles,
            text=text[:TEXT_SHOWN] if text else None,
            attempts=task.losses + task.tries,
            run=self._job.run,
            time=round(time.time(), 3),
            columns=task.columns,
        )

    def _commit(self, outcomes: list[tuple[Task, Any]]) -> None:
        if not outcomes:
            return
        tokens = [task.spent for task, _ in outcomes]
        with self._store_lock.shared():
            if self._stopped:
                raise StoppedError("this annotator was stopped")
            with self._metrics.committing([outcome for _, outcome in outcomes], tokens):
                self._store.commit(
                    self._job.spec.id, self._job.run, [(task.key, outcome) for task, outcome in outcomes], tokens
                )


def next_group(tasks: Iterable[Task]) -> list[Task]:
    """Choose who is tried next: those first that were lost least often, and the fewer at a time the oftener.

    So whoever was tried when something died does not meet the next death in the same place.
    """
    waiting = list(tasks)
    losses = min(task.losses for task in waiting)
    alike = [task for task in waiting if task.losses == losses]
    if losses == 0:
        return alike
    return alike[: SUSPECTS_TOGETHER if losses == 1 else 1]
