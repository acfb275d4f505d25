"""Processes that score rows: in order, as one process would, and a row that kills one costs itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.library.kept import keep_columns
from cluster.library.source import resolve
from cluster.library.whole_rows import read_all_whole
from distill.models.packing import pack
from distill.screen.scorer import READ, Scorer
from distill.screen.scoring import SentScorer
from distill.screen.workers import TRIES, Workers
from teacher.module_process import ProcessStartError
from tests.support import deadly_scorer, lame_scorer
from tests.support.models import TARGET, untrained_student

SMILES = ["CCO", "CCC", "c1ccccc1", "nonsense", "", "C" * 300, "[Na+].[Cl-]", "CC(C)O", "OCC"]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_student(tmp_path_factory.mktemp("model"))


def blocks(folder: Path) -> list[pa.Table]:
    (folder / "library.smi").write_text("\n".join(SMILES) + "\n")
    sources = resolve([str(folder / "library.smi")])
    whole = pa.concat_tables(read_all_whole(sources, keep_columns(sources)))
    return [whole.slice(0, 4), whole.slice(4, 1), whole.slice(5)]


def test_processes_say_what_one_says(student: Path, tmp_path: Path) -> None:
    read = blocks(tmp_path)
    alone = pa.concat_tables(Scorer(str(student), doubt=True).score(block.select(READ)) for block in read)
    with Workers(str(student), doubt=True, processes=2) as workers:
        found = list(workers.score(iter(read)))
    assert [rows.num_rows for rows, _ in found] == [4, 1, 4]
    assert pa.concat_tables(rows for rows, _ in found).equals(pa.concat_tables(read))
    together = pa.concat_tables(scored for _, scored in found)
    assert together.drop_columns([TARGET, f"{TARGET}_low", f"{TARGET}_high"]).equals(
        alone.drop_columns([TARGET, f"{TARGET}_low", f"{TARGET}_high"])
    )
    assert np.allclose(together[TARGET].to_pandas(), alone[TARGET].to_pandas(), atol=1e-5, equal_nan=True)
    assert [error and error.split(" by")[0] for error in together["error"].to_pylist()] == [
        *(None, None, None, "cannot be read", "is empty"),
        *(None, None, None, None),
    ]


def test_a_row_that_kills_a_process_costs_itself(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(deadly_scorer.ONCE, str(tmp_path / "once"))
    with Workers(str(student), doubt=False, processes=1, module=deadly_scorer.__name__) as workers:
        scored = pa.concat_tables(scored for _, scored in workers.score(blocks(tmp_path))).to_pylist()
    assert scored[0] == {"smiles": None, TARGET: None, "error": "kills RDKit (SIGSEGV)"}
    assert (tmp_path / "once").exists()  # propane killed one process too, and is not blamed
    assert [place for place, row in enumerate(scored) if row[TARGET] is None] == [0, 3, 4]


def test_what_a_row_does_to_a_process_is_called_by_its_name(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "library.smi").write_text("C\nCCC\nCCCC\n")
    sources = resolve([str(tmp_path / "library.smi")])
    rows = pa.concat_tables(read_all_whole(sources, keep_columns(sources)))
    monkeypatch.setenv(deadly_scorer.ONCE, str(tmp_path / "once"))
    (tmp_path / "once").touch()
    with Workers(str(student), doubt=True, processes=1, module=deadly_scorer.__name__) as workers:
        ((_, scored),) = workers.score([rows])
    assert scored["error"].to_pylist() == ["ends its process (exit status 1)", None, None]
    assert scored.schema.equals(Scorer(str(student), doubt=True).score(rows.select(READ)).schema)


class Interrupted:
    """A stream of answers, whose reader is interrupted while it waits."""

    def read_next_batch(self) -> Any:
        raise KeyboardInterrupt


def test_a_question_that_is_interrupted_leaves_no_answer_for_the_next(student: Path, tmp_path: Path) -> None:
    first, _, last = blocks(tmp_path)
    with Workers(str(student), doubt=False, processes=1) as workers:
        ((_, expected),) = workers.score([last])
        process = workers._idle.get()
        workers._idle.put(process)
        stream, process._answers = process._answers, Interrupted()
        with pytest.raises(KeyboardInterrupt):
            workers._scored(first.select(READ), TRIES)
        process._answers = stream
        ((_, found),) = workers.score([last])
    assert found.equals(expected)


def test_fewer_answers_than_rows_are_those_of_no_row(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(deadly_scorer.ONCE, str(tmp_path / "once"))
    monkeypatch.setenv(deadly_scorer.SHORT, "1")
    (tmp_path / "once").touch()
    (_, _, rows) = blocks(tmp_path)
    with Workers(str(student), doubt=False, processes=1, module=deadly_scorer.__name__) as workers:
        ((_, scored),) = workers.score([rows.slice(0, 3)])
    assert scored["smiles"].to_pylist() == ["C" * 300, "[Na+].[Cl-]", "CC(C)O"]


def test_a_machine_that_cannot_start_a_process_blames_no_row(student: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(ProcessStartError, match=r"exit status 1, The model is too large for this machine\."),
        Workers(str(student), doubt=False, processes=2, module=lame_scorer.__name__) as workers,
    ):
        list(workers.score(blocks(tmp_path)))


def test_an_actor_outlives_a_row_that_kills_its_process(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.get", lambda packed: packed)
    monkeypatch.setenv(deadly_scorer.ONCE, str(tmp_path / "once"))
    (tmp_path / "once").touch()
    pack(student, tmp_path / "model.gallon")
    sent: Any = (tmp_path / "model.gallon").read_bytes()
    actor = SentScorer(sent, doubt=False, module=deadly_scorer.__name__)
    (rows, *_) = blocks(tmp_path)
    scored = actor(rows).to_pylist()
    assert [row["error"] and row["error"].split(" by")[0] for row in scored] == [
        *("kills RDKit (SIGSEGV)", None, None, "cannot be read")
    ]
    assert [row["row"] for row in scored] == [1, 2, 3, 4]


@pytest.mark.parametrize(("name", "processes"), [("student-fingerprint", 2), ("gin", 1)])
def test_processes_end_without_a_word_with_rows_or_without_and_with_networks_of_pyg(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, processes: int
) -> None:
    model = untrained_student(tmp_path, name)
    with Workers(str(model), doubt=False, processes=processes) as workers:
        assert len(list(workers.score(blocks(tmp_path)[:1]))) == 1
    assert capfd.readouterr().err == ""
