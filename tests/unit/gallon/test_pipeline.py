"""A property is learned in one call: its steps, in order, with what the user named."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import gallon
from cluster.store.open import choose_spec, open_store
from cluster.store.store import Store
from gallon import pipeline
from teacher.errors import UsageError
from teacher.llm.spec import Spec

TABLE = "smi;y\n" + "".join(f"{'C' * length};{length}\n" for length in range(1, 31))


class Steps:
    """What was called, and with which options; nothing is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, interrupted: bool = False) -> None:
        self.called: list[tuple[str, dict[str, Any]]] = []
        answers = {
            "annotate": SimpleNamespace(spec="1f2e", interrupted=interrupted),
            "teach": [SimpleNamespace(path="teacher")],
            "distill": SimpleNamespace(path="student"),
            "evaluate": SimpleNamespace(),
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pipeline, name, self._step(name, answer))
        monkeypatch.setattr(pipeline, "open_store", lambda *_: nullcontext())
        monkeypatch.setattr(pipeline, "choose_spec", lambda *_: None)
        monkeypatch.setattr(pipeline, "resolve_spec", lambda *_: None)
        monkeypatch.setattr(pipeline, "started_ray", lambda *_: nullcontext())

    def _step(self, name: str, answer: Any) -> Any:
        def do(data: str, **options: Any) -> Any:
            self.called.append((name, options))
            return answer

        return do

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.called]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "data.csv").write_text(TABLE)
    return tmp_path / "data.csv"


def test_the_model_that_was_named_describes_what_the_teachers_read(
    table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps = Steps(monkeypatch)
    learned = gallon.learn(
        table, target="y", smiles_column="smi", split="random", separator=";", model="big/one", out=tmp_path / "o"
    )
    assert steps.names == ["annotate", "teach", "distill", "evaluate"]
    annotating, teaching, distilling, comparing = (options for _, options in steps.called)
    assert annotating["spec"].model == "big/one"
    assert (annotating["reading"].smiles_column, annotating["reading"].separator) == ("smi", ";")
    assert teaching["spec_id"] == comparing["spec_id"] == "1f2e" and teaching["teacher"] == ["dmpnn", "lm"]
    assert distilling["teacher_folder"] == ["teacher"]
    assert {step["training"].out for step in (teaching, distilling, comparing)} == {tmp_path / "o"}
    assert {step["labels"].target for step in (teaching, distilling, comparing)} == {("y",)}
    assert learned.annotation.spec == "1f2e" and learned.student.path == "student"


@pytest.mark.parametrize(
    ("options", "teachers"), [({"spec_id": "9a3c"}, ["dmpnn", "lm"]), ({"texts": False}, ["dmpnn"])]
)
def test_nothing_is_annotated_where_texts_are_there_or_none_is_read(
    options: dict[str, Any], teachers: list[str], table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps = Steps(monkeypatch)
    learned = gallon.learn(
        table, target="y", smiles_column="smi", split="random", separator=";", out=tmp_path / "o", **options
    )
    assert steps.names == ["teach", "distill", "evaluate"] and learned.annotation is None
    assert steps.called[0][1]["teacher"] == teachers and steps.called[0][1]["spec_id"] == options.get("spec_id")


def test_an_interrupt_of_the_annotation_trains_nothing(
    table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps = Steps(monkeypatch, interrupted=True)
    with pytest.raises(KeyboardInterrupt):
        gallon.learn(table, target="y", smiles_column="smi", split="random", separator=";", out=tmp_path / "o")
    assert steps.names == ["annotate"]


def test_a_mistake_is_told_before_anything_is_annotated(
    table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps = Steps(monkeypatch)
    (tmp_path / "o" / "student").mkdir(parents=True)
    (tmp_path / "o" / "student" / "thesis.tex").write_text("mine")
    usual = {"smiles_column": "smi", "split": "random", "separator": ";"}
    for options, sentence in (
        ({"target": "z", **usual}, "no column 'z'"),
        ({"target": "y", **usual, "out": tmp_path / "o"}, "holds files and no model"),
    ):
        with pytest.raises(UsageError, match=sentence):
            gallon.learn(table, **options)
    with pytest.raises(UsageError, match="no table to annotate"):
        gallon.learn("esol")
    assert not steps.called


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rules": "no.json"}, "no.json cannot be read"),
        ({"encoder": "/no/encoder"}, "encoder '/no/encoder' cannot be loaded"),
        ({"llm_budget": 0.5, "budget_by": "luck"}, "luck"),
        ({"service": "http://127.0.0.1:1"}, "--service is asked under a budget"),
        ({"budget_by": "uncertainty", "also_spec": "0000"}, "leave out --other-spec and --also-spec"),
        ({"also_spec": "0000"}, "There is no spec '0000'"),
        ({"predictions": "0000"}, "There is no spec '0000'"),
        ({"predictions": "SPEC"}, "The prompt of these predictions is not in the store"),
        ({"ranking": "0000"}, "There is no spec '0000'"),
        ({"ranking": "SPEC"}, "does not order neighbours"),
    ],
)
def test_every_setting_of_the_training_is_checked_before_anything_is_annotated(
    options: dict[str, Any],
    sentence: str,
    table: Path,
    store: Store,
    spec: Spec,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    steps = Steps(monkeypatch)
    monkeypatch.setattr(pipeline, "open_store", open_store)
    monkeypatch.setattr(pipeline, "choose_spec", choose_spec)
    store.save_spec(spec)
    named = {name: spec.id if value == "SPEC" else value for name, value in options.items()}
    usual = {"target": "y", "smiles_column": "smi", "split": "random", "separator": ";", "store": store.url}
    with pytest.raises(UsageError, match=sentence):
        gallon.learn(table, **usual, out=tmp_path / "o", **named)
    assert not steps.called
