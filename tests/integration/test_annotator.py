"""An annotator whose engine dies: what is taken up again is what it still holds, and nothing else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cluster.annotation.annotator import Annotator
from cluster.annotation.job import Job
from cluster.runs.run import Run, ended_well
from cluster.runtime.session import RaySession
from cluster.store.store import Row, Store
from teacher.chemistry.molecule import key_of
from teacher.errors import EngineDeadError, EngineRefusedError
from teacher.llm.completion import Completion
from teacher.llm.engine import Engine, Request
from teacher.llm.prompt import Prompt
from teacher.llm.spec import Spec
from tests.support.records import ELSEWHERE, record
from tests.support.scripted import SMILES_LINE, Script, ScriptedEngine

MOLECULES = ("C", "CC", "CCC", "CCCC")
FINISHED_BY_OTHERS, HELD_BY_OTHERS = MOLECULES[:2]
KEYS = {smiles: key_of(smiles) for smiles in MOLECULES}


class DyingEngine:
    """An engine that dies with all that it is asked, while another run finishes one of them and claims another."""

    def __init__(self, store: Store, spec: Spec) -> None:
        self._store, self._spec = store, spec

    def submit(self, request: Request) -> Future[Completion]:
        del request
        self._store.heartbeat("other", self._spec.id, ELSEWHERE, 60)
        self._store.claim(self._spec.id, "other", [KEYS[HELD_BY_OTHERS]], "claim")
        outcome = record(FINISHED_BY_OTHERS, run="other")
        self._store.commit(self._spec.id, "other", [(KEYS[FINISHED_BY_OTHERS], outcome)], [(1, 1)])
        answer: Future[Completion] = Future()
        answer.set_exception(EngineDeadError("it died"))
        return answer

    def close(self) -> None:
        """Nothing is left of it."""


class NotingEngine(ScriptedEngine):
    """The scripted engine, which notes whom it is asked about."""

    def __init__(self) -> None:
        super().__init__(Script())
        self.asked: list[str] = []

    def submit(self, request: Request) -> Future[Completion]:
        (text,) = request.content
        found = SMILES_LINE.search(str(text))
        assert found is not None
        self.asked.append(found[1])
        return super().submit(request)


@pytest.fixture
def second_engine() -> Iterator[NotingEngine]:
    engine = NotingEngine()
    yield engine
    engine.close()


@pytest.fixture
def here(ray_here: RaySession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an annotator be in this process, which is none of Ray's workers."""
    monkeypatch.setattr("cluster.annotation.annotator.gpus_held", lambda: 0.0)
    monkeypatch.setattr("cluster.annotation.annotator.place", lambda: "here")
    monkeypatch.setattr("cluster.annotation.annotator.log_in_worker", lambda *_: None)


def annotate_here(
    store: Store,
    spec: Spec,
    prompt: Prompt,
    engines: list[Engine],
    folder: Path,
    meanwhile: Callable[[], object] | None = None,
) -> None:
    """Have an annotator deal with the molecules; the last of the engines is its first.

    Where something happens meanwhile, it is given those that are left again after that.
    """
    job = Job(
        run="ours",
        store_url=store.url,
        spec=spec,
        prompt=prompt,
        sources=("f",),
        max_attempts=3,
        engine=lambda log: engines.pop(),
    )
    store.register(spec.id, "ours", [Row(key, 0, row) for row, key in enumerate(KEYS.values(), 1)])
    rows = [
        {"key": key, "smiles": smiles, "source": 0, "row": row, "columns": ""}
        for row, (smiles, key) in enumerate(KEYS.items(), 1)
    ]
    annotator = Annotator(job, str(folder))
    annotator.start()
    with closing(annotator):
        annotator.annotate(pa.Table.from_pylist(rows), 0, len(rows))
        if meanwhile is not None:
            meanwhile()
            annotator.annotate(pa.Table.from_pylist(rows), 0, len(rows))


def test_molecules_that_others_have_meanwhile_are_left_to_them(
    here: None, store: Store, spec: Spec, describe: Prompt, second_engine: NotingEngine, tmp_path: Path
) -> None:
    annotate_here(store, spec, describe, [second_engine, DyingEngine(store, spec)], tmp_path)
    assert sorted(second_engine.asked) == sorted(set(MOLECULES) - {FINISHED_BY_OTHERS, HELD_BY_OTHERS})
    assert store.state_of(spec.id, list(KEYS.values())) == ["accepted", "pending", "accepted", "accepted"]
    (finished,) = store.fetch(spec.id, [KEYS[FINISHED_BY_OTHERS]])
    assert finished is not None
    assert finished.run == "other"


@dataclass(frozen=True)
class Other:
    """Another run, which has all molecules in its engine's hands, and is alive until it ends well."""

    run: Run
    life: ExitStack

    def end_well(self) -> None:
        self.run.end("interrupted")
        self.life.close()


@pytest.fixture
def other(store: Store, spec: Spec) -> Iterator[Other]:
    keys, run = list(KEYS.values()), Run(store, spec, ["f"], None, time.time())
    store.register(spec.id, run.id, [Row(key, 0, row) for row, key in enumerate(keys, 1)])
    with ExitStack() as life:
        life.enter_context(run.alive())
        store.claim(spec.id, run.id, keys, "claim")
        store.hand(spec.id, run.id, [(key, "claim") for key in keys])
        yield Other(run, life)


def attempts(store: Store, spec: Spec) -> list[int]:
    return [record.attempts for record in store.fetch(spec.id, list(KEYS.values())) if record is not None]


def test_what_a_run_had_in_hand_that_was_interrupted_while_this_one_waited_is_not_lost(
    here: None,
    store: Store,
    spec: Spec,
    describe: Prompt,
    other: Other,
    second_engine: NotingEngine,
    tmp_path: Path,
) -> None:
    def interrupt() -> None:
        assert not second_engine.asked
        other.end_well()

    annotate_here(store, spec, describe, [second_engine], tmp_path, interrupt)
    assert attempts(store, spec) == [1] * len(MOLECULES)


def test_what_a_run_had_in_hand_that_ends_well_while_its_end_is_looked_up_is_not_lost(
    here: None,
    store: Store,
    spec: Spec,
    describe: Prompt,
    other: Other,
    second_engine: NotingEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def looked_up(*given: Any) -> list[str]:
        found = ended_well(*given)
        if other.run.id in store.alive():
            other.end_well()
        return found

    monkeypatch.setattr("cluster.runs.run.ended_well", looked_up)
    annotate_here(store, spec, describe, [second_engine], tmp_path, lambda: None)
    assert attempts(store, spec) == [1] * len(MOLECULES)


def test_a_machine_that_cannot_draw_is_done_without_and_no_molecule_is_blamed(
    here: None,
    store: Store,
    spec: Spec,
    describe: Prompt,
    second_engine: NotingEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeing = spec.model_copy(update={"image_size": 64})
    monkeypatch.setitem(sys.modules, "rdkit.Chem.Draw", None)  # as where libXrender is missing: an ImportError
    with pytest.raises(EngineRefusedError, match=r"RDKit cannot draw there .*libxrender1"):
        annotate_here(store, seeing, describe, [second_engine], tmp_path)
    assert store.state_of(seeing.id, list(KEYS.values())) == ["pending"] * len(KEYS)
    assert not store.counts(seeing.id).dead
