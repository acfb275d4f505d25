"""Parts that can score nothing: everything is trained and compared all the same, and what is not known is left open."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cluster.runtime.session import RaySession
from cluster.training.driver import TrainResources
from distill.data.dataset import read
from distill.data.splits import split
from distill.evaluate.budget import Settings
from distill.evaluate.comparison import compare
from distill.evaluate.provenance import provenance
from distill.judge.judged import Judged, SeededSplit
from distill.judge.summary import summarize
from distill.learn.inputs import ModelInputs
from distill.learn.recipes import INPUTS, recipe
from distill.learn.teach import teach
from distill.models.model_store import read_card
from distill.report.comparison import write
from gallon.api.evaluation import Comparison
from gallon.cli.output import print_comparison, print_json, print_trained
from teacher.strict_json import dumps

METHODS = ["random_forest", "gin", "student"]


def strictly(text: str) -> object:
    """Read JSON that holds none of Python's own words."""

    def refuse(word: str) -> float:
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def reading_of(folder: Path, train: list[str], valid: list[str], test: list[str]) -> ModelInputs:
    cells = [(label, part) for part, labels in (("train", train), ("valid", valid), ("test", test)) for label in labels]
    rows = [f"{'C' * length}O,{label},{part}" for length, (label, part) in enumerate(cells, start=1)]
    (folder / "data.csv").write_text("\n".join(["smiles,y,part", *rows]) + "\n")
    return ModelInputs(read(folder / "data.csv", targets=["y"], split_column="part"), None, folder / "inputs")


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [(["0", "1"] * 6, ["1", "1"], ["0"]), (["1.5", "2.5", "3.5"] * 4, ["2.5"], ["3.5"])],
    ids=["classes", "numbers"],
)
def test_a_comparison_leaves_open_what_cannot_be_scored(
    train: list[str],
    valid: list[str],
    test: list[str],
    ray_here: RaySession,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model_inputs = reading_of(tmp_path, train, valid, test)
    cases = [SeededSplit(seed=seed, split=split(model_inputs.dataset, "column")) for seed in range(2)]
    names = ["gin", *(f"student-{reads}" for reads in INPUTS)]
    short = {name: replace(recipe(name), schedule=replace(recipe(name).schedule, epochs=2)) for name in names}
    settings = Settings(methods=METHODS, folder=tmp_path, resources=TrainResources(workers=1), folds=2, recipes=short)
    judged = Judged.of(model_inputs.dataset, cases)
    runs = compare(model_inputs, judged, cases, settings)
    summary = summarize(judged, runs, "student")
    page = write(tmp_path, judged, runs, summary, made_of=provenance(model_inputs, cases, trials=0))
    table = strictly((tmp_path / "table.json").read_text())
    assert isinstance(table, dict) and [row["mean"] for row in table["rows"]] == [None] * len(METHODS)
    assert "nan" not in (tmp_path / "table.csv").read_text() and ">nan<" not in page.read_text()
    print_comparison(Comparison(summary=summary, facts=provenance(model_inputs, cases, 0), page=page))
    assert "nan" not in capsys.readouterr().out
    assert strictly(dumps([asdict(row) for row in summary.rows]))
    for outcome in (tmp_path / "fits").glob("*/outcome.json"):
        strictly(outcome.read_text())


def test_one_validation_label_leaves_the_epoch_to_the_loss(
    ray_here: RaySession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [f"{number / 4}" for number in range(24)]
    model_inputs = reading_of(tmp_path, labels[::2] + labels[1:-4:2], labels[-3:-2], labels[-1:])
    parts = split(model_inputs.dataset, "column")
    known = replace(recipe("dmpnn"), schedule=replace(recipe("dmpnn").schedule, epochs=15))
    trained = teach(model_inputs, parts, [known], seed=0, folds=0, folder=tmp_path, resources=TrainResources())
    card = read_card(trained[0].path)
    losses = [epoch["loss"] for epoch in card.history]
    assert card.best_epoch == 1 + losses.index(min(losses)) > 1
    assert card.metrics["valid"]["rmse"] is None and card.metrics["train"]["rmse"] is not None
    strictly((trained[0].path / "card.json").read_text())
    print_trained(trained)
    print_json({"models": [trained[0].metrics]})
    assert "nan" not in capsys.readouterr().out.lower()
