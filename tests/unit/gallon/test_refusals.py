"""Data that nothing can be learnt from: one sentence, before a cluster starts and before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import ray
from typer.testing import CliRunner

from gallon.cli.app import app
from teacher.errors import UsageError

NUMBERS = [f"{number / 2}" for number in range(20)]
CLASSES = ["0", "1"] * 10
BY_COLUMN = ("--split", "column", "--split-column", "part")
PARTS = ["train"] * 14 + ["valid"] * 3 + ["test"] * 3


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts Ray, or joins it, fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", refuse)


def refused(folder: Path, labels: Sequence[str], options: Sequence[str], command: str) -> str:
    """Return what a command says of alkanes with these labels."""
    rows = [
        f"{'C' * length},{label},{part}" for length, (label, part) in enumerate(zip(labels, PARTS, strict=False), 1)
    ]
    (folder / "data.csv").write_text("\n".join(["smiles,y,part", *rows]) + "\n")
    words = [command, str(folder / "data.csv"), "--target", "y", "--out", str(folder / "out"), *options]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, UsageError), result.exception
    assert not (folder / "out").exists()
    return str(result.exception)


@pytest.mark.parametrize("command", ["teach", "distill", "evaluate", "learn"])
@pytest.mark.parametrize(
    ("labels", "options", "sentence"),
    [
        (["3"] * 20, (), "has only the value 3, so there is nothing to learn"),
        (["3", *[""] * 19], (), "has only the value 3, so there is nothing to learn"),
        ([""] * 20, (), "has no value, so there is nothing to learn"),
        (["nan"] * 20, (), "has no value, so there is nothing to learn"),
        ([*NUMBERS[:19], "1e30"], ("--split", "random"), r"1e\+30 of 'y' .* is so far from the others"),
        (["1e30", *NUMBERS[:18], "-1e30"], ("--split", "random"), r"1e\+30 of 'y' .* is so far from the others"),
        ([*NUMBERS[:19], "1e300"], (), "'1e300' in row 20, which is no finite number"),
        ([*NUMBERS[:19], "inf"], (), "'inf' in row 20, which is no finite number"),
        ([*NUMBERS[:19], "soluble"], (), "'soluble' in row 20, which is no finite number"),
        (["1"] * 17 + ["0"] * 3, BY_COLUMN, "training part .* has only the class 1 of 'y'"),
        ([""] * 13 + NUMBERS[:7], BY_COLUMN, "training part .* has one label only of 'y'"),
        ([""] * 14 + NUMBERS[:6], BY_COLUMN, "training part .* has no labels of 'y'"),
        (["2"] * 14 + NUMBERS[:6], BY_COLUMN, "training part .* has only the value 2 of 'y'"),
        (NUMBERS[:17], BY_COLUMN, "leaves its test part empty"),
        (NUMBERS[:3], ("--split", "random"), "leaves its valid part empty"),
        (NUMBERS[:2], (), "leaves its train part empty"),
        (NUMBERS, ("--split", "random", "--balance"), "--balance weighs classes"),
    ],
)
def test_what_cannot_be_learnt_is_told_at_once(
    command: str, labels: Sequence[str], options: Sequence[str], sentence: str, tmp_path: Path
) -> None:
    said = refused(tmp_path, labels, options, command)
    assert re.search(sentence, said), said


@pytest.mark.parametrize("command", ["teach", "distill"])
def test_a_tuning_that_is_not_there_is_told_at_once(command: str, tmp_path: Path) -> None:
    options = ("--split", "random", "--tuning", str(tmp_path / "tuning.json"))
    assert "there is no such file" in refused(tmp_path, CLASSES, options, command)
