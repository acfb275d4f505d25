"""Training the tiny model: it learns, goes on where it was interrupted, and leaves what vLLM loads."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.progress import Progress

from teacher.errors import UsageError
from teacher.llm.models import CHECKPOINT
from teacher.llm.prompt import load
from teacher.tiny import library
from teacher.tiny.examples import Examples
from teacher.tiny.train import Learner, Plan, train

PLAN = Plan(steps=4, batch_size=4)


@pytest.fixture
def smiles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("teacher.tiny.train.SAVE_EVERY", 1)
    monkeypatch.setattr("teacher.tiny.train.WARM_UP", 1)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    return library.read(None)


def losses(folder: Path) -> list[float]:
    return [entry["answer"] for entry in json.loads((folder / "losses.json").read_text())]


def test_an_interrupted_training_ends_as_an_undisturbed_one(
    smiles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = Progress(disable=True)
    train(smiles, PLAN, tmp_path / "undisturbed", quiet)

    learn = Learner.learn
    with monkeypatch.context() as patched:
        patched.setattr(Learner, "learn", lambda self, batch: learn(self, batch) if self.step < 3 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(smiles, PLAN, tmp_path / "interrupted", quiet)
    assert len(losses(tmp_path / "interrupted")) == 3
    train(smiles, PLAN, tmp_path / "interrupted", quiet)

    undisturbed = losses(tmp_path / "undisturbed")
    assert losses(tmp_path / "interrupted") == pytest.approx(undisturbed, rel=1e-2)
    assert len(undisturbed) == PLAN.steps and undisturbed[-1] < undisturbed[0]
    assert {file.name for file in (tmp_path / "interrupted" / "checkpoint").iterdir()} == {
        file.name for file in CHECKPOINT.iterdir()
    }
    with pytest.raises(UsageError, match=r"training under other settings .*\"steps\": 4"):
        train(smiles, Plan(steps=5), tmp_path / "interrupted", quiet)


def test_a_training_begins_with_a_checkpoint_of_the_same_recipe(smiles: list[str], tmp_path: Path) -> None:
    plan = replace(PLAN, start=str(CHECKPOINT))
    shipped, random = (Learner(each, tmp_path) for each in (plan, PLAN))
    examples = Examples(smiles, load("describe"), str(CHECKPOINT / "tokenizer.json"), batch_size=8, seed=0)
    batch = next(examples.batches(0))
    assert shipped.learn(batch)["answer"] < random.learn(batch)["answer"] / 4

    other = tmp_path / "other"
    shutil.copytree(CHECKPOINT, other)
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text().replace("phenol", "lonehp"))
    for start, reason in ((other, "tokenizer or its shape is another"), (tmp_path / "nowhere", "No such file")):
        with pytest.raises(UsageError, match=f"Cannot begin with .*{reason}"):
            Learner(replace(PLAN, start=str(start)), tmp_path)


def test_the_shipped_checkpoint_has_the_settings_of_the_recipe(tmp_path: Path) -> None:
    """Else who trains anew gets another model than the one that is described."""
    learner = Learner(PLAN, tmp_path)
    learner.save()
    for file in sorted((tmp_path / "checkpoint").iterdir()):
        if file.suffix != ".safetensors":
            assert file.read_text() == (CHECKPOINT / file.name).read_text(), file.name
