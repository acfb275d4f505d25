"""The Ray actor that annotates: one LLM engine, fed by several threads so that it always has a full batch."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from cluster.gate import Gate
from cluster.job import Job, software_id, software_versions
from cluster.metrics import AnnotatorMetrics, gpus_held
from cluster.record import Letter, Record, Stage
from cluster.signs import Signer
from cluster.store import FINISHED, HELD, Store
from teacher.catalog import Picture
from teacher.checks import RejectedError, check
from teacher.depiction import draw
from teacher.engine import Completion, Engine, PromptRejectedError, Request
from teacher.errors import EngineDeadError
from teacher.facts import Structure, structure_of
from teacher.graph import graph_text
from teacher.molecule import mol_of
from teacher.spec import Sampling

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_SHOWN = 400
DEATHS_ALONE = 2  # of a worker, that are blamed on the molecule it was trying
RDKIT_ERRORS = (RuntimeError, ValueError)  # what RDKit raises over a molecule that it cannot lay out or analyse


@dataclass(slots=True)
class Task:
    """A molecule on its way through the engine.

    Attributes:
        attempts: how many times it was taken up to be annotated, over all runs.
        facts: what RDKit knows of the molecule.
        request: its rendered prompt; None where it was refused instead.
        tries: how many answers were refused.
        deaths: what the engines said that died with it in their hands.
        cut_off: whether the last answer was refused because it was not finished.
        spent: prompt and completion tokens of all tries.
    """

    key: bytes
    smiles: str
    source: str
    row: int
    attempts: int
    facts: Structure | None = None
    request: Request | None = None
    refused: PromptRejectedError | None = None
    tries: int = 0
    deaths: list[str] = field(default_factory=list)
    cut_off: bool = False
    spent: tuple[int, int] = (0, 0)
    started: float = field(default_factory=time.monotonic)


class Annotator:
    """Annotates batches of molecules; called from several threads of one actor at the same time.

    The engine starts with the first molecule that is to be annotated, so that a run with nothing to do starts none.
    """

    def __init__(self, job: Job, log_folder: str) -> None:
        self._job = job
        self._store = Store(job.store_url)
        gpus = gpus_held()
        self._signer = Signer(self._store, job.run, gpus)
        self._metrics = AnnotatorMetrics(job.run, gpus, self._signer)
        self._log_path = Path(log_folder) / f"vllm-{socket.gethostname()}-{os.getpid()}.log"
        self._engine: Future[Engine] | None = None
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine-start")
        self._engine_lock = threading.Lock()
        self._gate = Gate()  # to the engine
        self._suspects_lock = threading.Lock()
        # The last attempt is made alone; the first never is, since whoever lost a molecule may have died of another.
        self._suspect_from = max(2, job.max_attempts)
        versions = software_versions()
        self._software = software_id(versions)
        self._store.keep_software(self._software, versions)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Annotate a batch as `cluster.plan.plan` makes it and store what becomes of each molecule.

        Returns:
            A table with one row: the number of molecules that this batch brought to an end.
        """
        import pyarrow as pa

        tasks = self._claim(batch.to_pylist())
        self._give_up(tasks)
        if tasks:
            self._engine_starting()
            for task in tasks.values():
                self._prepare(task)  # the first batches are drawn while the engine starts
            suspects = [task for task in tasks.values() if task.attempts >= self._suspect_from]
            for task in suspects:
                del tasks[task.key]
            try:
                self._annotate(tasks)
            except EngineDeadError:
                suspects += tasks.values()
            # Whoever was tried alone when something died comes last: it does not meet the next death in the same place.
            for task in sorted(suspects, key=lambda task: task.attempts):
                self._annotate_alone(task)
        return pa.table({"finished": [batch.num_rows]})

    # From a row to a request

    def _claim(self, rows: list[dict[str, Any]]) -> dict[bytes, Task]:
        """Count an attempt on each molecule and take those that nobody has finished, or works on, meanwhile."""
        keys = [row["key"] for row in rows]
        attempts = self._store.claim(self._job.spec.id, self._job.run, keys, most=self._suspect_from)
        return {
            row["key"]: Task(
                key=row["key"],
                smiles=row["smiles"],
                source=self._job.sources[row["source"]],
                row=row["row"],
                attempts=count,
            )
            for row, count in zip(rows, attempts, strict=True)
            if count > 0
        }

    def _give_up(self, tasks: dict[bytes, Task]) -> None:
        """Let molecules die that twice took the whole worker with them while they were tried alone.

        Beyond the attempt that makes a suspect only those are counted that are made alone, so that whoever merely waits
        behind a suspect is never blamed.
        """
        message = "Workers died again and again while they worked on this molecule."
        lost = [task for task in tasks.values() if task.attempts >= self._suspect_from + DEATHS_ALONE]
        self._commit([(task, self._letter(task, "engine", "WorkerDiedError", message)) for task in lost])
        for task in lost:
            del tasks[task.key]

    def _prepare(self, task: Task) -> None:
        """Render the prompt of a molecule, or note why RDKit cannot."""
        try:
            task.request = self._request(task)
        except RDKIT_ERRORS as error:
            task.refused = PromptRejectedError(f"RDKit cannot render this molecule: {error}")

    def _request(self, task: Task) -> Request:
        """Render the prompt of a molecule; what RDKit knows of it is found out first, so that no answer is in vain."""
        spec, prompt = self._job.spec, self._job.prompt
        mol = mol_of(task.smiles)
        task.facts = structure_of(mol)
        picture = None
        if spec.image_size is not None:
            picture = Picture(draw(mol, spec.image_size), uuid=f"{task.key.hex()}-{spec.image_size}")
        content = prompt.fill(
            task=spec.task,
            smiles=task.smiles if spec.smiles else None,
            picture=picture,
            graph=graph_text(mol) if spec.graph else None,
        )
        return Request(content, self._sampling(task), prompt.json_schema if spec.structured else None)

    def _sampling(self, task: Task) -> Sampling:
        sampling = self._job.spec.sampling
        assert sampling is not None, "only specs of imported annotations have none"
        return sampling.rung(task.tries, task.cut_off)

    # Through the engine

    def _annotate(self, tasks: dict[bytes, Task], *, alone: bool = False) -> None:
        """Bring all `tasks` to an end; each leaves the dictionary when it is stored.

        Args:
            tasks: by their molecules' keys.
            alone: keep everything else out of the engine meanwhile.

        Raises:
            EngineDeadError: the engine died; the tasks that are left were in its hands.
        """
        with self._gate.alone() if alone else self._gate.together():
            engine = self._engine_starting().result()
            try:
                self._ask(engine, tasks)
            except EngineDeadError as error:
                self._discard(engine, error)  # before anybody else comes through the gate and is blamed
                for task in tasks.values():
                    task.deaths.append(str(error))
                raise

    def _ask(self, engine: Engine, tasks: dict[bytes, Task]) -> None:
        answers: SimpleQueue[tuple[Task, Future[Completion]]] = SimpleQueue()
        for task in tasks.values():
            self._submit(engine, task, answers)
        with self._metrics.in_flight(len(tasks)) as left:
            while tasks:
                outcomes = []
                for task, answer in _drain(answers):
                    outcome = self._judge(task, answer)
                    if outcome is None:
                        self._submit(engine, task, answers)
                    else:
                        outcomes.append((task, outcome))
                self._commit(outcomes)
                for task, _ in outcomes:
                    del tasks[task.key]
                left(len(tasks))

    def _submit(self, engine: Engine, task: Task, answers: SimpleQueue[tuple[Task, Future[Completion]]]) -> None:
        task.started = time.monotonic()
        if task.request is None:
            answer: Future[Completion] = Future()
            answer.set_exception(task.refused)
        else:
            answer = engine.submit(replace(task.request, sampling=self._sampling(task)))
        answer.add_done_callback(lambda answer: answers.put((task, answer)))

    def _judge(self, task: Task, answer: Future[Completion]) -> Record | Letter | None:
        """Turn an answer into a record or a dead letter, or into None where another try is due."""
        try:
            completion = answer.result()
        except PromptRejectedError as error:
            return self._letter(task, "prompt", type(error).__name__, str(error))
        seconds = time.monotonic() - task.started
        self._metrics.answered(seconds)
        task.spent = (task.spent[0] + completion.prompt_tokens, task.spent[1] + completion.completion_tokens)
        try:
            return self._record(task, completion, seconds)
        except RejectedError as error:
            task.tries += 1
            task.cut_off = error.stage == "finish"
            if task.attempts + task.tries <= self._job.max_attempts:
                self._metrics.retried(error.stage)
                return None
            return self._letter(task, error.stage, type(error).__name__, str(error), completion.text)

    def _annotate_alone(self, task: Task) -> None:
        """Annotate a molecule that an engine or a worker died with, to find the one to blame.

        Suspects go one after another, beside batches of others. Only in its last attempt a molecule has the engine to
        itself; if the engine dies then, no other can have killed it.
        """
        with self._suspects_lock:
            blamed = False
            while not blamed:
                last = self._is_last(task)
                self._engine_starting().result()  # an attempt counts from the claim on, so not while an engine starts
                (task.attempts,) = self._store.claim(self._job.spec.id, self._job.run, [task.key])
                if task.attempts in {FINISHED, HELD}:
                    return None
                try:
                    return self._annotate({task.key: task}, alone=last)
                except EngineDeadError:
                    blamed = last
            times = f"each of the {len(task.deaths)} times" if len(task.deaths) > 1 else "when"
            message = f"The engine died {times} it worked on this molecule: {task.deaths[-1]}"
            return self._commit([(task, self._letter(task, "engine", "EngineDeadError", message))])

    def _is_last(self, task: Task) -> bool:
        """Tell whether a molecule is given up if the engine, or the whole worker, dies at its next attempt."""
        lost = task.attempts - self._suspect_from + 1  # workers, once this attempt has taken another
        return len(task.deaths) + 1 >= self._job.max_attempts or lost >= DEATHS_ALONE

    # To the store

    def _record(self, task: Task, completion: Completion, seconds: float) -> Record:
        assert task.facts is not None, "a task is prepared before it is answered"
        checked = check(
            completion.text,
            completion.finish_reason,
            self._job.prompt.json_schema,
            task.facts,
            self._job.spec.min_grounding,
        )
        sampling = self._sampling(task)
        return Record(
            smiles=task.smiles,
            text=completion.text,
            finish_reason=completion.finish_reason or "",
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            grounding=checked.grounding,
            attempts=task.attempts + task.tries,
            seed=sampling.seed,
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            seconds=round(seconds, 4),
            run=self._job.run,
            software=self._software,
            time=round(time.time(), 3),
        )

    def _letter(self, task: Task, stage: Stage, error: str, message: str, text: str | None = None) -> Letter:
        return Letter(
            stage=stage,
            error=error,
            message=message,
            source=task.source,
            row=task.row,
            smiles=task.smiles,
            text=text[:TEXT_SHOWN] if text else None,
            attempts=task.attempts + max(task.tries - 1, 0),
            run=self._job.run,
            time=round(time.time(), 3),
        )

    def _commit(self, outcomes: list[tuple[Task, Any]]) -> None:
        if not outcomes:
            return
        tokens = [task.spent for task, _ in outcomes]
        with self._metrics.committing([outcome for _, outcome in outcomes], tokens):
            self._store.commit(
                self._job.spec.id, self._job.run, [(task.key, outcome) for task, outcome in outcomes], tokens
            )

    # The engine's life

    def _engine_starting(self) -> Future[Engine]:
        """Return the engine that runs or starts; start one where there is none."""
        with self._engine_lock:
            if self._engine is None:
                self._signer.engine("starting")
                self._engine = self._starter.submit(self._job.engine, self._log_path)
                self._engine.add_done_callback(lambda _: self._signer.engine("ready"))
            return self._engine

    def _discard(self, engine: Engine, error: EngineDeadError) -> None:
        """Forget a dead engine, once, whichever thread notices first."""
        with self._engine_lock:
            if self._engine is not None and self._engine.done() and self._engine.result() is engine:
                self._engine = None
                self._metrics.engine_died(str(error))
                engine.close()


def _drain(answers: SimpleQueue[tuple[Task, Future[Completion]]]) -> Iterable[tuple[Task, Future[Completion]]]:
    """Wait for one answer, then take all that have come meanwhile: they are stored together."""
    yield answers.get()
    while True:
        try:
            yield answers.get_nowait()
        except Empty:
            return
